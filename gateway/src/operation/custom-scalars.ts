import { SCALARS } from '@tributary/server';
import { type GraphQLSchema, isScalarType } from 'graphql';

/**
 * Makes a schema validate the values of the services' scalars (`DateTime`, `Decimal`, `JSON`), so that a request with an invalid variable
 * or literal is refused before any of it is executed. Scalars are recognized by the URL of their specification; those of other graphs stay
 * unvalidated, also under the same names. Changes the schema's types in place: a schema that is built from SDL has types of its own.
 */
export function validateCustomScalars(schema: GraphQLSchema): void {
  for (const { name, specifiedByURL, parseValue, parseLiteral } of SCALARS) {
    const type = schema.getType(name);
    if (isScalarType(type) && type.specifiedByURL === specifiedByURL) Object.assign(type, { parseValue, parseLiteral });
  }
}

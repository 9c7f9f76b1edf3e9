import { SCALARS } from '@tributary/server';
import { type GraphQLSchema, isScalarType } from 'graphql';

/**
 * Makes a schema check the values of the services' scalars (`DateTime`, `Decimal`, `JSON`), so that a request whose variables or
 * literals do not fit is refused before anything of it runs. They are recognized by the URL of their specification; scalars of
 * other graphs stay unchecked, also when they have the same names. A schema made from SDL has types of its own, so they are changed.
 */
export function checkKnownScalars(schema: GraphQLSchema): void {
  for (const { name, specifiedByURL, parseValue, parseLiteral } of SCALARS) {
    const type = schema.getType(name);
    if (isScalarType(type) && type.specifiedByURL === specifiedByURL) Object.assign(type, { parseValue, parseLiteral });
  }
}

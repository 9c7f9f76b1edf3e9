import { errorAt } from '@tributary/server';
import type { GraphQLError } from 'graphql';
import type { ResponseError } from '../lib/error-list.js';
import { byClientNames } from '../operation/index.js';
import { ClientFields } from './client-fields.js';
import { parseClientOperation } from './client-operation.js';
import type { ErrorContext } from './error-context.js';
import { ErrorLocations } from './error-locations.js';
import { ErrorMessages } from './error-messages.js';

/** The most paths that one error lists. */
const MAX_PATHS = 20;
/** Codes of errors with the id of the request, which clients quote when they report the error. */
const CODES_WITH_REQUEST_ID = new Set<unknown>([
  'INTERNAL_SERVER_ERROR',
  'INVALID_SUBGRAPH_RESPONSE',
  'DOWNSTREAM_SERVICE_ERROR',
]);

/**
 * Converts errors from the plan's names to the client's: its response names, variables and arguments, with locations in its text. Errors
 * of several fields that only the plan selects become one, about the object around them.
 */
export function toClientErrors(errors: readonly ResponseError[], context: ErrorContext): GraphQLError[] {
  const converter = new ErrorConverter(context);
  const seen = new Set<string>();
  return errors.flatMap((error) => {
    const { converted, isSelected } = converter.convert(error);
    if (isSelected) return [converted];
    const key = JSON.stringify([converted.message, converted.path]);
    if (seen.has(key)) return [];
    seen.add(key);
    return [converted];
  });
}

class ErrorConverter {
  readonly #requestId: string | undefined;
  readonly #fields: ClientFields;
  readonly #locations: ErrorLocations;
  readonly #messages: ErrorMessages;

  constructor(context: ErrorContext) {
    const { query, document, variables, clientVariables, requestId } = context;
    const operation = parseClientOperation(query, document);
    this.#requestId = requestId;
    this.#fields = new ClientFields(context, operation, byClientNames(document, variables));
    this.#locations = new ErrorLocations(query, operation, this.#fields, clientVariables);
    this.#messages = new ErrorMessages(context, this.#fields);
  }

  convert(error: ResponseError): { converted: GraphQLError; isSelected: boolean } {
    const { paths, uses = [] } = error;
    const [first] = paths;
    const place = first && this.#fields.placeAt(first);
    const isSelected = place?.isSelected ?? true;
    const converted = errorAt(this.#messages.of(error, isSelected), this.#locations.of(place, uses), {
      path: place?.path,
      extensions: this.#extensionsOf(error),
    });
    return { converted, isSelected };
  }

  #extensionsOf({ paths, extensions }: ResponseError): Readonly<Record<string, unknown>> {
    const requestId = CODES_WITH_REQUEST_ID.has(extensions.code) ? this.#requestId : undefined;
    return {
      ...extensions,
      ...(requestId !== undefined && { requestId: extensions.requestId ?? requestId }),
      ...(paths.length > 1 && {
        paths: paths.slice(0, MAX_PATHS).map((path) => this.#fields.placeAt(path).path),
        pathCount: paths.length,
      }),
    };
  }
}

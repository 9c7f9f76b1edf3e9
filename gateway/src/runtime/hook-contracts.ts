import { WrittenResult } from '@tributary/server';
import { GraphQLError } from 'graphql';
import { isObject } from '../lib/json.js';
import { checkHeaders, type SubgraphRequest, type SubgraphResult } from '../subgraph/index.js';
import type { ResultValues } from './operation-request.js';
import type { ClientRequest, RequestChange } from './plugin.js';

// What plug-ins pass on and return, as TypeScript declares it. Each check throws a TypeError that says what it expected.

/** Checks what `onRequest` passes to `next`. */
export function checkRequest(request: ClientRequest): void {
  expectThat(typeof request?.with === 'function', 'next(request), or next(request.with({ … }))');
}

/** Checks a request that `ClientRequest.with` has changed. */
export function checkChange({ query, operationName, variables }: RequestChange): void {
  expectThat(typeof query === 'string', 'with({ query }) to be a string');
  expectThat(
    operationName === undefined || typeof operationName === 'string',
    'with({ operationName }) to be a string',
  );
  expectThat(isObject(variables), 'with({ variables }) to be an object');
}

/** Checks what `onRequest` resolves to. */
export function checkWrittenResult(result: unknown): WrittenResult {
  expectThat(result instanceof WrittenResult, 'a WrittenResult');
  return result;
}

/** Checks what `onValidate` returns; nothing is no error. */
export function checkErrors(errors: unknown): readonly GraphQLError[] {
  const listed = errors ?? [];
  expectThat(Array.isArray(listed) && listed.every(isGraphQLError), 'a list of GraphQL errors');
  return listed;
}

/** Checks what `onSubgraphFetch` passes to `next`. */
export function checkSubgraphRequest(request: SubgraphRequest): void {
  expectThat(
    typeof request?.body === 'string' && isObject(request.headers),
    'next(request), or next({ ...request, … })',
  );
  checkHeaders(request.headers);
}

/** Checks what `onSubgraphFetch` resolves to, unless `next` did. */
export function checkSubgraphResult(result: unknown): SubgraphResult {
  expectThat(isObject(result) && !(Symbol.asyncIterator in result), 'one result');
  const { data, errors } = result as SubgraphResult;
  expectThat(data === undefined || data === null || isObject(data), 'data to be an object or null');
  expectThat(
    errors === undefined || (Array.isArray(errors) && errors.every(isObject)),
    'errors to be a list of objects',
  );
  expectThat(data !== undefined || (errors?.length ?? 0) > 0, 'data or errors');
  JSON.stringify([data, errors]);
  return result as SubgraphResult;
}

/**
 * Checks what `onResult` returns: also that it can be serialized, because later nothing can name the plug-in.
 *
 * @returns a result with data or null, because without it a result counts as that of a request that was not executed
 */
export function checkResult(result: unknown): ResultValues {
  expectThat(isObject(result) && !('then' in result), 'a result');
  const { data = null, errors, extensions } = result as ResultValues;
  expectThat(data === null || isObject(data), 'data to be an object or null');
  const listed = errors ?? [];
  expectThat(Array.isArray(listed) && listed.every(isGraphQLError), 'errors to be GraphQL errors');
  expectThat(extensions === undefined || isObject(extensions), 'extensions to be an object');
  const checked = { ...(listed.length > 0 && { errors: listed }), data, ...(extensions && { extensions }) };
  JSON.stringify(checked);
  return checked;
}

const isGraphQLError = (error: unknown): error is GraphQLError => error instanceof GraphQLError;

function expectThat(holds: boolean, what: string): asserts holds {
  if (!holds) throw new TypeError(`expected ${what}`);
}

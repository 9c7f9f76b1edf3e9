import { buildSchema, type DocumentNode, GraphQLError } from 'graphql';
import { expect, test } from 'vitest';
import { SupergraphSchema } from '../lib/supergraph-schema.js';
import { DocumentCache } from './document-cache.js';

const SCHEMA = 'type Query { a(id: ID): Int b: Int }';

function createCache(onParse: (document: DocumentNode) => void = () => undefined) {
  const schema = buildSchema(SCHEMA);
  return new DocumentCache(schema, new SupergraphSchema(SCHEMA), { maxTokens: 100, maxOperations: 10, onParse });
}

test('documents that differ in literals and names only share an operation', () => {
  const cache = createCache();
  const first = cache.parseAndValidate('query A { a(id: "1") }', 'A');
  const second = cache.get('query B { a(id: "2") }', undefined);
  if ('errors' in first || !second || 'errors' in second) throw new Error('expected operations');
  expect(second.operation).toBe(first.operation);
  expect(second.document).toMatchObject({ operationName: 'B', literals: { v0: '2' } });
  expect(cache.get('{ b }', undefined)).toBeUndefined();
});

test.each([
  ['a type error', new TypeError('x is not a function')],
  ['a range error other than a stack overflow', new RangeError('Invalid array length')],
])('an unexpected error is thrown, and not cached: %s', (_what, error) => {
  let failing = true;
  const cache = createCache(() => {
    if (failing) throw error;
  });
  for (const method of ['get', 'parseAndValidate'] as const) {
    expect(() => cache[method]('{ b }', undefined)).toThrow(error);
  }
  failing = false;
  expect(cache.get('{ b }', undefined)).toBeUndefined();
  expect(cache.parseAndValidate('{ b }', undefined)).toHaveProperty('operation');
});

test('the errors of an invalid document are cached', () => {
  const parsed: DocumentNode[] = [];
  const cache = createCache((document) => void parsed.push(document));
  const refused = cache.parseAndValidate('{ c }', undefined);
  expect(refused).toMatchObject({ errors: [{ extensions: { code: 'GRAPHQL_VALIDATION_FAILED' } }] });
  expect(cache.get('{ c }', undefined)).toBe(refused);
  expect(parsed).toHaveLength(1);
});

test('an error by which a hook refuses a document is cached, with its code', () => {
  const error = new GraphQLError('Refused.', { extensions: { code: 'COST_LIMIT' } });
  const cache = createCache(() => {
    throw error;
  });
  const refused = cache.parseAndValidate('{ b }', undefined);
  expect(refused).toMatchObject({ errors: [{ message: 'Refused.', extensions: { code: 'COST_LIMIT' } }] });
  expect(cache.get('{ b }', undefined)).toBe(refused);
});

test('a document that is nested too deeply is refused, and cached', () => {
  const schema = buildSchema('type Query { q: Query a: Int }');
  const supergraph = new SupergraphSchema('type Query { q: Query a: Int }');
  const cache = new DocumentCache(schema, supergraph, { maxTokens: 1_000_000 });
  const depth = 100_000;
  const query = `${'{q'.repeat(depth)}{a}${'}'.repeat(depth)}`;
  const refused = cache.parseAndValidate(query, undefined);
  expect(refused).toMatchObject({ errors: [{ extensions: { code: 'COST_LIMIT', reason: 'DEPTH' } }] });
  expect(cache.get(query, undefined)).toBe(refused);
});

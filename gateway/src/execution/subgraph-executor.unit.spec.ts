import { expect, test } from 'vitest';
import { ResponseErrors } from '../lib/error-list.js';
import type { ExecutionContext } from './execution-context.js';
import { SubgraphExecutor } from './subgraph-executor.js';
import type { SubgraphOperation } from './subgraph-operation.js';

test('a stream of results is refused with a clear error', async () => {
  const stream = async function* () {
    yield { data: { item: null } };
  };
  const executor = new SubgraphExecutor(new Map([['items', stream]]), null, null);
  const operation: SubgraphOperation = {
    id: '1',
    subgraph: 'items',
    text: 'query{item{id}}',
    start: '{"query":"query{item{id}}","variables":',
    usages: [],
    contextual: [],
    repeatable: true,
    cache: null,
  };
  const context: ExecutionContext = {
    variables: {},
    headers: {},
    credentials: null,
    reader: '',
    cancellation: null,
    requirements: null,
    data: {},
    errors: new ResponseErrors(),
    plain: true,
    outdated: false,
    observed: [],
    traces: null,
  };
  const result = await executor.fetch(context, { operation, variables: '{}', path: [] });
  expect(result.data).toBeUndefined();
  expect(result.errors).toMatchObject([
    {
      message: 'The subgraph "items" returned a stream of results where the gateway requires one result.',
      extensions: { code: 'INVALID_SUBGRAPH_RESPONSE' },
    },
  ]);
});

import { buildClientSchema, getIntrospectionQuery, lexicographicSortSchema, printSchema } from 'graphql';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startGraph, type TestGraph } from '../../../test/harness/graph.ts';

let graph: TestGraph;
beforeAll(async () => {
  graph = await startGraph();
});
afterAll(() => graph?.stop());

test('docs/schema.graphql is the schema that clients see (bring it up to date with "npx vitest run schema -u")', async () => {
  const { data } = await graph.ask(getIntrospectionQuery());
  await expect(`${printSchema(lexicographicSortSchema(buildClientSchema(data)))}\n`).toMatchFileSnapshot(
    '../../../docs/schema.graphql',
  );
});

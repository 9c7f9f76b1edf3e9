import { parse, validate } from 'graphql';
import { describe, expect, test } from 'vitest';
import { Random } from '../harness/random.ts';
import { CASES, IDS } from './cases.ts';
import { buildCase } from './federated-case.ts';
import { HARDER_CASES } from './harder-cases.ts';
import { QueryWriter } from './random-query.ts';

// Random queries over graphs cut into subgraphs have the same data, and errors at the same places, as on one schema that knows
// everything. ENGINE_QUERIES is how many for each graph; ENGINE_SEED repeats a run.
const QUERIES = Number(process.env.ENGINE_QUERIES ?? 300);
const SEED = Number(process.env.ENGINE_SEED ?? 14);

interface Answer {
  readonly data?: unknown;
  readonly errors?: readonly { readonly path?: readonly (string | number)[] | undefined }[];
}

/**
 * The nulls that errors explain. Of several errors below one null, an executor may tell any; and a subgraph may fail at a field
 * that was asked of an object only because it does not know the types of an interface, which is told of the object.
 */
function explainedNulls({ data, errors = [] }: Answer): string[] {
  const nulls = errors.flatMap(({ path = [] }) => {
    if (data === null) return ['[]'];
    let value: unknown = data;
    const end = path.findIndex((key) => {
      value = (value as Record<string | number, unknown>)[key];
      return value === null;
    });
    return end < 0 ? [] : [JSON.stringify(path.slice(0, end + 1))];
  });
  return [...new Set(nulls)].sort();
}

describe.each([...CASES, ...HARDER_CASES])('$name', (federated) => {
  test(`${QUERIES} random queries (seed ${SEED})`, { timeout: 120_000 }, async () => {
    const graph = buildCase(federated);
    const random = new Random(SEED);
    let asked = 0;
    for (let attempt = 0; asked < QUERIES; attempt++) {
      expect(attempt).toBeLessThan(QUERIES * 20);
      const { query, variables } = new QueryWriter(graph.apiSchema, random, IDS).write();
      if (validate(graph.apiSchema, parse(query)).length > 0) continue;
      asked += 1;
      const [actual, expected] = await Promise.all([graph.run(query, variables), graph.expected(query, variables)]);
      const what = `${query}\n${JSON.stringify(variables)}\n${JSON.stringify(actual.errors)}`;
      expect(JSON.parse(JSON.stringify(actual.data)), what).toEqual(JSON.parse(JSON.stringify(expected.data)));
      expect(explainedNulls(actual), what).toEqual(explainedNulls(expected));
    }
  });
});

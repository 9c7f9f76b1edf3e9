import { parse, validate } from 'graphql';
import { describe, expect, test } from 'vitest';
import { Random } from '../../test/harness/random.ts';
import { CASES, IDS } from './graphs/cases.ts';
import { type Answer, buildCase, cacheFor, type FederatedCase } from './graphs/federated-case.ts';
import { HARDER_CASES } from './graphs/harder-cases.ts';
import { QueryWriter, type RandomQuery } from './graphs/random-query.ts';

// Random queries over graphs cut into subgraphs have the same data, and errors at the same places, as on one schema that has
// everything: named operations, several at once, with and without a cache. ENGINE_QUERIES is how many for each graph; ENGINE_SEED is
// where the random numbers begin.
const QUERIES = Number(process.env.ENGINE_QUERIES ?? 100);
const SEED = Number(process.env.ENGINE_SEED ?? 14);
const AT_ONCE = 6;
const TIMEOUT = 60_000 + QUERIES * 1000;

type Nulls = Pick<Answer, 'errors'> & { readonly data?: unknown };
type Graph = ReturnType<typeof buildCase>;

/**
 * The nulls that errors explain. Of several errors below one null, an executor may report any; and a subgraph may fail at a field
 * that was selected on an object only because it does not have the types of an interface, which is reported at the object.
 */
function explainedNulls({ data, errors = [] }: Nulls): string[] {
  const nulls = errors.flatMap(pathsOf).flatMap((path) => {
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

/** All places that an error affects. */
function pathsOf({ path = [], extensions }: NonNullable<Answer['errors']>[number]): readonly Path[] {
  return (extensions?.paths as Path[] | undefined) ?? [[...path]];
}

/** Where in the document each error with a path is. */
const locationsOf = ({ errors = [] }: Nulls) =>
  new Map(errors.flatMap(({ path, locations = [] }) => (path ? [[JSON.stringify(path), locations] as const] : [])));

/** Whether a field of the graph fails. */
const fails = ({ entities }: FederatedCase) =>
  entities.some((entity) => Object.values(entity).some((value) => value instanceof Error));

/** Names that only the gateway and subgraphs use. */
const INTERNAL = /_entities|representations|__alias_/;

const plainJson = (value: unknown) => JSON.parse(JSON.stringify(value ?? null));

/** Random queries that the schema allows, in batches. */
function* batches(graph: Graph, seed: number, count: number, nameOf: (i: number) => string): Generator<RandomQuery[]> {
  const writer = new QueryWriter(graph.apiSchema, new Random(seed), IDS);
  let batch: RandomQuery[] = [];
  let written = 0;
  for (let attempt = 0; written < count; attempt++) {
    expect(attempt).toBeLessThan(count * 20);
    const query = writer.write(nameOf(written));
    if (validate(graph.apiSchema, parse(query.query)).length > 0) continue;
    written += 1;
    batch.push(query);
    if (batch.length < AT_ONCE && written < count) continue;
    yield batch;
    batch = [];
  }
}

const described = ({ query, variables }: RandomQuery, { errors }: Nulls) =>
  `${query}\n${JSON.stringify(variables)}\n${JSON.stringify(errors)}`;

/** What was sent from here on: how many requests, and how many entities they ask for. */
function counter({ sent }: Graph) {
  const from = sent.length;
  return () => {
    const since = sent.slice(from);
    const entities = since.flatMap(({ variables }) =>
      Object.entries(variables).flatMap(([name, value]) => (name.startsWith('representations') ? (value as []) : [])),
    );
    return { requests: since.length, entities: entities.length };
  };
}

describe.each([...CASES, ...HARDER_CASES])('$name', (federated) => {
  test(`${QUERIES} random named queries, ${AT_ONCE} at once, with and without a cache (seed ${SEED})`, {
    timeout: TIMEOUT,
  }, async () => {
    const { cache, reportUnchanged } = cacheFor(federated);
    const graphs = [buildCase(federated), buildCase({ ...federated, cacheable: true }, { cache })] as const;
    const [graph, cached] = graphs;
    let compared = 0;
    for (const batch of batches(graph, SEED, QUERIES, (i) => `Operation${i}`)) {
      const expected = await Promise.all(batch.map(({ query, variables }) => graph.expected(query, variables)));
      // What is asked again comes from the cache, as far as it is cacheable.
      for (const each of [graph, cached, cached]) {
        reportUnchanged();
        const actual = await Promise.all(batch.map(({ query, variables }) => each.run(query, variables)));
        batch.forEach((query, i) => {
          const [is, should] = [actual[i] as Answer, expected[i] as Nulls];
          const what = described(query, is);
          expect(is.data, what).toEqual(plainJson(should.data));
          expect(explainedNulls(is), what).toEqual(explainedNulls(plainJson(should)));
          expect(JSON.stringify(is.errors ?? []), what).not.toMatch(INTERNAL);
          const locations = locationsOf(plainJson(should));
          for (const [path, found] of locationsOf(is)) {
            expect(found.length, what).toBeGreaterThan(0);
            const there = locations.get(path);
            if (!there) continue;
            // The engine does not have the type of an object that is null: it names the fields of all types that it may have.
            expect(found, what).toEqual(expect.arrayContaining([...there]));
            if (found.length === there.length) compared += 1;
          }
        });
      }
    }
    // A few queries may have no error in common.
    if (QUERIES >= 100 && fails(federated)) expect(compared).toBeGreaterThan(0);
    // Otherwise the cache was never asked.
    expect(cached.sent.length).toBeLessThan(2 * graph.sent.length);
  });

  const some = Math.ceil(QUERIES * 0.45);

  test(`${some} random queries send the same with any name (seed ${SEED})`, { timeout: TIMEOUT }, async () => {
    const anonymous = buildCase(settled(federated));
    const named = buildCase(settled(federated));
    const { cache, reportUnchanged } = cacheFor(federated);
    const cached = buildCase({ ...settled(federated), cacheable: true }, { cache });
    const run = async (graph: Graph, { query, variables }: RandomQuery, name: string) => {
      reportUnchanged();
      const count = counter(graph);
      await graph.run(query.replace(/^query \w*/, `query ${name}`), variables);
      return count();
    };
    for (const batch of batches(anonymous, SEED + 1, some, () => 'Same')) {
      for (const query of batch) {
        const what = described(query, {});
        expect(await run(named, query, 'Named'), what).toEqual(await run(anonymous, query, ''));
        await run(cached, query, 'First');
        const again = await run(cached, query, 'First');
        expect(await run(cached, query, 'Second'), what).toEqual(again);
      }
    }
  });

  test(`${some} random queries in which entities fail, with batches and without (seed ${SEED})`, {
    timeout: TIMEOUT,
  }, async () => {
    const healthy = buildCase(federated);
    const failing: FederatedCase['failing'] = (subgraph, type, reference) => isFailing(subgraph, type, reference, SEED);
    const merged = buildCase({ ...settled(federated), failing });
    const apart = buildCase({ ...settled(federated), failing }, { mergeFetches: false, shareFetches: false });
    for (const batch of batches(healthy, SEED + 2, some, (i) => `Operation${i}`)) {
      const answers = await Promise.all(
        batch.map(async ({ query, variables }) => ({
          whole: plainJson((await healthy.expected(query, variables)).data),
          merged: await merged.run(query, variables),
          apart: await apart.run(query, variables),
        })),
      );
      answers.forEach((answer, i) => {
        const what = described(batch[i] as RandomQuery, answer.merged);
        expect(lostIn(answer.merged.data, answer.apart.data), what).toEqual([]);
        const unexplained = lostIn(answer.merged.data, answer.whole).filter(
          (path) => !isExplained(path, answer.merged),
        );
        expect(unexplained, what).toEqual([]);
      });
    }
  });

  test(`${some} random queries of entities that a subgraph lacks, in batches, from a cache, and alone (seed ${SEED})`, {
    timeout: TIMEOUT,
  }, async () => {
    const absent: FederatedCase['absent'] = (subgraph, type, reference) => isFailing(subgraph, type, reference, SEED);
    const { cache, reportUnchanged } = cacheFor(federated);
    const apart = buildCase({ ...settled(federated), absent }, { mergeFetches: false, shareFetches: false });
    const merged = buildCase({ ...settled(federated), absent });
    const cached = buildCase({ ...settled(federated), absent, cacheable: true }, { cache });
    for (const batch of batches(apart, SEED + 3, some, (i) => `Operation${i}`)) {
      const expected = await Promise.all(batch.map(({ query, variables }) => apart.run(query, variables)));
      for (const each of [merged, cached, cached]) {
        reportUnchanged();
        const actual = await Promise.all(batch.map(({ query, variables }) => each.run(query, variables)));
        batch.forEach((query, i) => {
          const what = described(query, actual[i] as Answer);
          expect(actual[i]?.data, what).toEqual(expected[i]?.data);
          expect(explainedNulls(actual[i] as Answer), what).toEqual(explainedNulls(expected[i] as Answer));
        });
      }
    }
  });
});

/** The graph with every progressive `@override` in force: otherwise each request draws which subgraph it fetches from. */
function settled(federated: FederatedCase): FederatedCase {
  const subgraphs = Object.entries(federated.subgraphs).map(([name, sdl]) => [
    name,
    sdl.replace(/percent\(\d+\)/g, 'percent(100)'),
  ]);
  const labels = new Map([...(federated.labels?.keys() ?? [])].map((label) => [label, 1]));
  return { ...federated, subgraphs: Object.fromEntries(subgraphs), labels };
}

/** A tenth of the references, chosen by the seed. */
function isFailing(
  subgraph: string,
  type: string,
  reference: Readonly<Record<string, unknown>>,
  seed: number,
): boolean {
  const text = `${subgraph} ${type} ${JSON.stringify(reference)}`;
  let hash = seed;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return new Random(hash).next() < 0.1;
}

type Path = (string | number)[];

/** Where something is null (or not the same list) that is not null in another answer to the same query. */
function lostIn(data: unknown, other: unknown, at: Path = []): Path[] {
  if (other === null || other === undefined || typeof other !== 'object')
    return other !== null && other !== undefined && (data === null || data === undefined) ? [at] : [];
  if (data === null || data === undefined) return [at];
  return Object.entries(other).flatMap(([key, value]) =>
    lostIn((data as Record<string, unknown>)[key], value, [...at, Array.isArray(other) ? Number(key) : key]),
  );
}

/** An error there, above it, or below it: what is below may have made it null. */
function isExplained(place: Path, { errors = [] }: Answer): boolean {
  return errors.flatMap(pathsOf).some((path) => {
    const shared = Math.min(place.length, path.length);
    return place.slice(0, shared).every((key, i) => key === path[i]);
  });
}

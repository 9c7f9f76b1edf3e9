import { GraphQLError } from 'graphql';
import { afterAll, describe, expect, test } from 'vitest';
import type { PlannerName } from '../../src/planning/index.js';
import { type SmallSubgraph, smallGraph } from '../graphs/small-graph.ts';
import { createPlanners } from '../graphs/test-planners.ts';

// Operations that one of the planners plans wrongly, or not at all, each with the right answer. `apollo` is the answer when
// QUERY_PLANNER=apollo forces Apollo's planner and differs.

const byId = (rows: readonly { id: string }[]) => (reference: { id: string }) =>
  rows.find(({ id }) => id === reference.id) ?? null;
const reference = { __resolveReference: (each: object) => each };

const PLANTS = [
  { __typename: 'Tree', id: '1', height: 30 },
  { __typename: 'Herb', id: '2', taste: 'bitter' },
];
const SIGHTINGS = [
  { id: '1', seen: 11, months: ['May'] },
  { id: '2', seen: 22, months: ['June'] },
];

/** Plants, and a subgraph that has them as one object type, whatever they are. */
const garden: Record<string, SmallSubgraph> = {
  plants: {
    sdl: `type Query { plants: [Plant!]! }
          interface Plant @key(fields: "id") { id: ID! }
          type Tree implements Plant @key(fields: "id") { id: ID! height: Int }
          type Herb implements Plant @key(fields: "id") { id: ID! taste: String }`,
    resolvers: {
      Query: { plants: () => PLANTS },
      Plant: { __resolveReference: byId(PLANTS) },
      Tree: { __resolveReference: byId(PLANTS) },
      Herb: { __resolveReference: byId(PLANTS) },
    },
  },
  sightings: {
    sdl: `type Query { rarest: [Plant!]! }
          type Plant @key(fields: "id") @interfaceObject { id: ID! seen: Int months: [String!]! near: [Plant!]! }`,
    resolvers: {
      Query: { rarest: () => SIGHTINGS },
      Plant: {
        __resolveReference: byId(SIGHTINGS),
        near: ({ id }: { id: string }) => SIGHTINGS.filter((other) => other.id !== id),
      },
    },
  },
};

const RATES: Readonly<Record<string, number>> = { EUR: 2, USD: 3 };

/** Fields that require one field with two different arguments. */
const fares: Record<string, SmallSubgraph> = {
  rides: {
    sdl: `type Query { rides: [Ride!]! }
          type Ride @key(fields: "id") { id: ID! fare(currency: String!): Int }`,
    resolvers: {
      Query: { rides: () => [{ id: '1' }, { id: '2' }] },
      Ride: {
        fare: ({ id }: { id: string }, { currency }: { currency: string }) =>
          id === '2' && currency === 'EUR' ? null : Number(id) * (RATES[currency] ?? 0),
      },
    },
  },
  tips: {
    sdl: `type Ride @key(fields: "id") {
            id: ID! fare(currency: String!): Int @external
            tip: String @requires(fields: "fare(currency: \\"EUR\\")")
            dollarTip: String @requires(fields: "fare(currency: \\"USD\\")") }`,
    resolvers: {
      Ride: {
        ...reference,
        tip: ({ fare }: { fare?: number | null }) => `tip for ${fare}`,
        dollarTip: ({ fare }: { fare?: number | null }) => `tip for ${fare}`,
      },
    },
  },
};

/** A field that requires another, of an entity whose key for that subgraph comes from a third subgraph. */
const parcels: Record<string, SmallSubgraph> = {
  orders: {
    sdl: `type Query { orders: [Order!]! }
          type Order { parcel: Parcel! }
          type Parcel @key(fields: "id") { id: ID! }`,
    resolvers: { Query: { orders: () => [{ parcel: { id: '1' } }] } },
  },
  depot: {
    sdl: `type Parcel @key(fields: "id") @key(fields: "code") { id: ID! code: String! weight: Int! }`,
    resolvers: { Parcel: { __resolveReference: () => ({ id: '1', code: 'C1', weight: 4 }) } },
  },
  post: {
    sdl: `type Parcel @key(fields: "code") {
            code: String! weight: Int! @external stamp: String @requires(fields: "weight") }`,
    resolvers: {
      Parcel: { ...reference, stamp: ({ code, weight }: { code: string; weight: number }) => `${code}: ${weight}` },
    },
  },
};

/** An interface whose field only an interface object has that cannot be entered. */
const sealed: Record<string, SmallSubgraph> = {
  boxes: {
    sdl: `type Query { box: Box size: Int }
          interface Box @key(fields: "id") { id: ID! }`,
    resolvers: { Query: { box: () => null, size: () => 7 } },
  },
  labels: {
    sdl: `type Query { labelled: Box }
          type Box @key(fields: "id", resolvable: false) @interfaceObject { id: ID! label: String }`,
    resolvers: { Query: { labelled: () => ({ id: '1', label: 'fragile' }) } },
  },
};

/** An entity with several keys, of which a subgraph that it comes back to accepts only one. */
const keys: Record<string, SmallSubgraph> = {
  flats: {
    sdl: `type Query { flats: [Flat!]! }
          type Flat @key(fields: "door { street number }", resolvable: false) @key(fields: "id door { number floor }") {
            id: ID! door: Door! name: String! @external sign: String @requires(fields: "name") }
          type Door @shareable { street: ID! number: ID! floor: ID! }`,
    resolvers: {
      Query: { flats: () => [{ id: '1', door: { street: 'S', number: '5', floor: '2' } }] },
      Flat: {
        __resolveReference: (each: { id?: string; door: { floor?: string } }) =>
          each.id && each.door.floor ? each : null,
        sign: ({ name }: { name: string }) => `* ${name} *`,
      },
    },
  },
  names: {
    sdl: `type Flat @key(fields: "id") @key(fields: "door { street number }", resolvable: false) {
            id: ID! door: Door! name: String! }
          type Door @shareable { street: ID! number: ID! floor: ID! }`,
    resolvers: { Flat: { __resolveReference: ({ id }: { id: string }) => ({ id, name: `Flat ${id}` }) } },
  },
};

const UNPLANNED = 'INTERNAL_SERVER_ERROR';

interface Case {
  readonly what: string;
  readonly subgraphs: Readonly<Record<string, SmallSubgraph>>;
  readonly query: string;
  /** The data, or the code of the error without data. */
  readonly answer: object | string;
  readonly apollo?: object | string;
}

const calendar: Record<string, SmallSubgraph> = {
  calendar: {
    sdl: `scalar Any
          type Query { days: [Day!]! text(any: Any): String root: Query }
          union Day = Feast | Fast
          type Feast { on(d: Any): String }
          type Fast { on(d: Any): String }`,
    resolvers: {
      Query: {
        days: () => [{ __typename: 'Feast' }, { __typename: 'Fast' }],
        text: (_: unknown, { any }: { any: unknown }) => JSON.stringify(any),
        root: () => ({}),
      },
      Feast: { on: (_: unknown, { d }: { d: unknown }) => `feast ${d}` },
      Fast: { on: (_: unknown, { d }: { d: unknown }) => `fast ${d}` },
    },
  },
};

/** Lines that have an outdated copy of their product's code. */
const copies: Record<string, SmallSubgraph> = {
  lines: {
    sdl: `type Query { line: Line }
          type Line { product: Product @provides(fields: "code") }
          type Product @key(fields: "id") { id: ID! code: String @external }`,
    resolvers: { Query: { line: () => ({ product: { id: '1', code: 'outdated' } }) } },
  },
  products: {
    sdl: `type Product @key(fields: "id") @key(fields: "code") { id: ID! code: String @shareable price: Int }`,
    resolvers: {
      Product: {
        __resolveReference: ({ id, code }: { id?: string; code?: string }) =>
          id === '1' || code === 'new' ? { id: '1', code: 'new', price: 7 } : null,
      },
    },
  },
};

const CASES: readonly Case[] = [
  {
    what: 'fields of an interface object, selected for several types',
    subgraphs: garden,
    query: '{ rarest { ... on Tree { seen } ... on Herb { seen months } } }',
    answer: { rarest: [{ seen: 11 }, { seen: 22, months: ['June'] }] },
  },
  {
    what: 'fields of an interface object, selected for one type in a list of the interface object itself',
    subgraphs: garden,
    query: '{ plants { id near { months ... on Tree { seen } } } }',
    answer: {
      plants: [
        { id: '1', near: [{ months: ['June'] }] },
        { id: '2', near: [{ months: ['May'], seen: 11 }] },
      ],
    },
  },
  {
    what: 'the type of an interface object under an alias',
    subgraphs: garden,
    query: '{ rarest { kind: __typename seen } }',
    answer: {
      rarest: [
        { kind: 'Tree', seen: 11 },
        { kind: 'Herb', seen: 22 },
      ],
    },
  },
  {
    what: 'one required field with two arguments',
    subgraphs: fares,
    query: '{ rides { tip dollarTip } }',
    answer: {
      rides: [
        { tip: 'tip for 2', dollarTip: 'tip for 3' },
        { tip: 'tip for null', dollarTip: 'tip for 6' },
      ],
    },
    apollo: UNPLANNED,
  },
  {
    what: 'a required field and a key that come from the same third subgraph',
    subgraphs: parcels,
    query: '{ orders { parcel { stamp } } }',
    answer: { orders: [{ parcel: { stamp: 'C1: 4' } }] },
  },
  {
    what: 'a field that no subgraph resolves here',
    subgraphs: sealed,
    query: '{ box { label } }',
    answer: UNPLANNED,
  },
  {
    what: 'a field that no subgraph resolves here, beside others',
    subgraphs: sealed,
    query: '{ size box { id label } }',
    answer: UNPLANNED,
  },
  {
    what: 'the same field where a subgraph resolves it',
    subgraphs: sealed,
    query: '{ labelled { label } size }',
    answer: { labelled: { label: 'fragile' }, size: 7 },
  },
  {
    what: 'an entity that comes back to a subgraph that accepts one of its keys',
    subgraphs: keys,
    query: '{ flats { id name sign } }',
    answer: { flats: [{ id: '1', name: 'Flat 1', sign: '* Flat 1 *' }] },
    apollo: { flats: [{ id: '1', name: 'Flat 1', sign: null }] },
  },
  {
    what: 'equal literals of a custom scalar on different types',
    subgraphs: calendar,
    query: '{ days { ... on Feast { on(d: 1.50) } ... on Fast { on(d: 1.50) } } }',
    answer: { days: [{ on: 'feast 1.5' }, { on: 'fast 1.5' }] },
  },
  {
    what: 'a literal object that contains a variable keeps the order of its fields',
    subgraphs: calendar,
    query: 'query Order($v: Any) { text(any: { b: 1, a: [$v, 2] }) }',
    answer: { text: '{"b":1,"a":[null,2]}' },
  },
  {
    what: 'introspection at the root, in a fragment, beside data',
    subgraphs: calendar,
    query: 'query Both { ...Root days { __typename } } fragment Root on Query { __schema { queryType { name } } }',
    answer: { __schema: { queryType: { name: 'Query' } }, days: [{ __typename: 'Feast' }, { __typename: 'Fast' }] },
  },
  {
    what: 'introspection below a field that leads to the root again',
    subgraphs: calendar,
    query: '{ root { __schema { queryType { name } } } }',
    answer: [expect.objectContaining({ message: expect.stringContaining('at the root of an operation only') })],
  },
  {
    what: 'a key that a copy provides is not the one by which the entity is fetched',
    subgraphs: copies,
    query: '{ line { product { price } } }',
    answer: { line: { product: { price: 7 } } },
  },
];

const forced = process.env.QUERY_PLANNER as PlannerName | undefined;
const planners = createPlanners({ planner: forced });
const apollo = createPlanners({ planner: 'apollo' });
afterAll(() => {
  planners.close();
  apollo.close();
});

describe('both planners', () => {
  test.each(CASES)('$what: $query', async ({ subgraphs, query, answer, ...other }) => {
    const expected = forced === 'apollo' ? (other.apollo ?? answer) : answer;
    expect(await answerOf(smallGraph(subgraphs, {}, planners), query)).toEqual(expected);
  });
});

describe("Apollo's planner", () => {
  test.each(CASES)('$what: $query', async ({ subgraphs, query, answer, ...other }) => {
    expect(await answerOf(smallGraph(subgraphs, {}, apollo), query)).toEqual(other.apollo ?? answer);
  });
});

/** The data of an answer, or the code of its error. */
async function answerOf(graph: ReturnType<typeof smallGraph>, query: string): Promise<unknown> {
  try {
    const { data, errors } = await graph.run(query);
    return errors ? errors : data;
  } catch (error) {
    if (!(error instanceof GraphQLError)) throw error;
    return error.extensions.code;
  }
}

import { expect, test } from 'vitest';
import { buildCase } from '../graphs/federated-case.ts';

// With a staleness bound of 0, every field is resolved by the subgraph that owns it, also where another one provides copies.

const item = { __typename: 'Item', id: 'i', name: 'an item' };
const shelf = { __typename: 'Shelf', id: 's', item, width: 'wide (very)', best: item };

const graph = buildCase({
  name: 'copies beside what is required with brackets in it',
  entities: [item, shelf],
  external: ['shelves.Shelf.width'],
  roots: { shelf: () => shelf },
  subgraphs: {
    rooms: `
      type Query { shelf: Shelf }
      type Shelf @key(fields: "id") { id: ID! width(unit: String!): String }`,
    shelves: `
      type Shelf @key(fields: "id") {
        id: ID!
        width(unit: String!): String @external
        item: Item @provides(fields: "name")
        best: Item @requires(fields: "width(unit: \\"(cm)\\")") @provides(fields: "name")
      }
      type Item @key(fields: "id") { id: ID! name: String @external }`,
    items: `type Item @key(fields: "id") { id: ID! name: String @shareable }`,
  },
});

test.each(['item', 'best'])('%s', async (field) => {
  const query = `{ shelf { ${field} { name } } }`;
  const asked = async (maxStalenessMs: number) => {
    graph.sent.length = 0;
    const result = await graph.engine.run({ query, requirements: { positions: new Map(), maxStalenessMs } });
    expect(JSON.parse('text' in result ? result.text : '{}').data.shelf[field]).toEqual({ name: 'an item' });
    return graph.sent.map(({ subgraph }) => subgraph);
  };
  expect(await asked(Number.POSITIVE_INFINITY)).toEqual(['rooms', 'shelves']);
  expect(await asked(0)).toEqual(['rooms', 'shelves', 'items']);
});

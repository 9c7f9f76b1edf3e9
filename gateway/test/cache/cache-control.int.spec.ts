import { composeServices } from '@apollo/composition';
import { parse } from 'graphql';
import { expect, test } from 'vitest';
import { CachePolicy } from '../../src/cache/index.js';
import { SupergraphSchema } from '../../src/lib/supergraph-schema.js';

// Which events invalidate what was read of an entity: only those of its own service, or also those of the owner of a copied field.

const LINK = `
  extend schema @link(url: "https://specs.apollo.dev/federation/v2.9", import: ["@key", "@external", "@provides", "@shareable", "@composeDirective"])
  extend schema @link(url: "https://tributary.dev/cache/v0.1", import: ["@cacheControl"]) @composeDirective(name: "@cacheControl")
  directive @cacheControl(scope: String! = "PUBLIC", of: [String!]! = []) on OBJECT | FIELD_DEFINITION`;

const services = {
  items: `type Item @key(fields: "id") @cacheControl { id: ID! name: String @shareable size: Int @shareable price: Price @shareable }
    type Price @shareable { amount: String }`,
  shelves: `type Query { shelf: Shelf @cacheControl }
    type Shelf @key(fields: "id") @cacheControl {
      id: ID! item: Item @provides(fields: "name") worth: Price label: Label }
    type Label { text: String }
    type Item @key(fields: "id") @cacheControl { id: ID! name: String @external size: Int @shareable shelves: Int }
    type Price @shareable { amount: String }`,
};
const composed = composeServices(
  Object.entries(services).map(([name, sdl]) => ({ name, url: `http://${name}`, typeDefs: parse(`${LINK}\n${sdl}`) })),
);
const policy = new CachePolicy(new SupergraphSchema(composed.supergraphSdl as string));

function dependenciesOf(fields: string) {
  const plan = policy.planFor('shelves', `{ shelf { __typename id ${fields} } }`);
  return plan?.dependenciesOf({ shelf: { __typename: 'Shelf', id: 's', item: { __typename: 'Item', id: 'i' } } });
}

test.each([
  ['what is the service’s own', 'item { shelves }', { entities: [], owned: ['Shelf:s', 'Item:i'] }],
  ['a value of its own, of a type that others have, too', 'worth { amount }', { entities: [], owned: ['Shelf:s'] }],
  ['what it provides from a copy', 'item { name }', { entities: ['Item:i'], owned: ['Shelf:s'] }],
  ['what another service has as well', 'item { size }', { entities: ['Item:i'], owned: ['Shelf:s'] }],
  ['both', 'item { shelves name }', { entities: ['Item:i'], owned: ['Shelf:s'] }],
])('%s', (_what, fields, made) => {
  expect(dependenciesOf(fields)).toEqual(made);
});

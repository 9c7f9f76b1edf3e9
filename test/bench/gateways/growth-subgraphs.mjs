// Subgraphs whose responses have the requested size: one has things, fifty others have a number of each.
import { buildSubgraphSchema } from '@apollo/subgraph';
import { graphql, parse } from 'graphql';

const LINK = 'extend schema @link(url: "https://specs.apollo.dev/federation/v2.3", import: ["@key"])\n';
const OTHERS = Array.from({ length: 50 }, (_, i) => i + 1);

/** The schemas of the subgraphs, by name. */
export const typeDefs = {
  things: `${LINK}
    type Query { things(count: Int!, size: Int!): [Thing!]! }
    type Thing @key(fields: "id") { id: ID! text: String! }`,
  ...Object.fromEntries(OTHERS.map((n) => [`s${n}`, `${LINK} type Thing @key(fields: "id") { id: ID! f${n}: Int! }`])),
};

const schemas = new Map();

function schemaOf(subgraph) {
  if (!schemas.has(subgraph)) {
    const field = `f${subgraph.slice(1)}`;
    const resolvers =
      subgraph === 'things'
        ? {
            Query: {
              things: (_, { count, size }) =>
                Array.from({ length: count }, (_each, i) => ({ id: `${i}`, text: 'x'.repeat(size) })),
            },
          }
        : { Thing: { __resolveReference: (reference) => reference, [field]: ({ id }) => Number(id) } };
    schemas.set(subgraph, buildSubgraphSchema({ typeDefs: parse(typeDefs[subgraph]), resolvers }));
  }
  return schemas.get(subgraph);
}

/** Answers a request to one of them. */
export async function answer(subgraph, body) {
  const { query, variables } = JSON.parse(body);
  return JSON.stringify(await graphql({ schema: schemaOf(subgraph), source: query, variableValues: variables }));
}

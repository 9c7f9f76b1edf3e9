// The workload of the public benchmark of federation gateways: users who review products, in four subgraphs.
import { buildSubgraphSchema } from '@apollo/subgraph';
import { graphql, parse } from 'graphql';
import { TOKEN } from './load.mjs';

const LINK = `extend schema @link(
  url: "https://specs.apollo.dev/federation/v2.3", import: ["@key", "@external", "@requires", "@provides", "@shareable"]
)\n`;

const USERS = ['ada', 'ben', 'cleo', 'dan', 'eve', 'finn'].map((username, i) => ({
  id: `${i + 1}`,
  username,
  name: `${username[0].toUpperCase()}${username.slice(1)} Miller`,
  birthday: 631_152_000 + i,
}));
const PRODUCTS = [899, 1299, 15, 499, 1299, 6999, 3999, 100_000, 9999].map((price, i) => ({
  upc: `${i + 1}`,
  name: `Product ${i + 1}`,
  price,
  weight: (i + 1) * 50,
}));
const REVIEWS = ['1', '1', '1', '1', '2', '2', '2', '2', '3', '4', '4'].map((upc, i) => ({
  id: `${i + 1}`,
  body: 'It does what it says, and it does it well. '.repeat(3 + ((i * 7) % 17)),
  product: { upc },
}));
/** A key can have a suffix: `1-x00000007` is what `1` is, for another request, and so is all that it refers to. */
const rowOf = (key) => key.split('-')[0];
const suffixOf = (key) => key.slice(rowOf(key).length);
const find = (rows, name, key) => ({ ...rows.find((row) => row[name] === rowOf(key)), [name]: key });
/** Every user wrote the same two reviews: so the answers grow fast. */
const writer = (id) => ({
  __typename: 'User',
  id,
  username: USERS[Number(rowOf(id)) - 1]?.username,
  reviews: REVIEWS.slice(0, 2).map((review) => ({ ...review, product: { upc: review.product.upc + suffixOf(id) } })),
});

const SUBGRAPHS = {
  accounts: {
    sdl: `
      type Query { me: User user(id: ID!): User users: [User] }
      type User @key(fields: "id") { id: ID! name: String username: String @shareable birthday: Int }`,
    Query: { me: () => USERS[0], user: (_, { id }) => find(USERS, 'id', id), users: () => USERS },
    User: { __resolveReference: ({ id }) => find(USERS, 'id', id) },
  },
  inventory: {
    sdl: `
      type Product @key(fields: "upc") {
        upc: String! weight: Int @external price: Int @external inStock: Boolean
        shippingEstimate: Int @requires(fields: "price weight")
      }`,
    Product: {
      __resolveReference: (reference) => ({ ...reference, inStock: rowOf(reference.upc) !== '4' }),
      shippingEstimate: ({ price, weight }) => (price > 1000 ? 0 : Math.trunc(weight / 2)),
    },
  },
  products: {
    sdl: `
      type Query { topProducts(first: Int = 5): [Product] }
      type Product @key(fields: "upc") { upc: String! name: String price: Int weight: Int }`,
    Query: { topProducts: (_, { first }) => PRODUCTS.slice(0, first) },
    Product: { __resolveReference: ({ upc }) => find(PRODUCTS, 'upc', upc) },
  },
  reviews: {
    sdl: `
      type Review @key(fields: "id") { id: ID! body: String product: Product author: User @provides(fields: "username") }
      type User @key(fields: "id") { id: ID! username: String @external reviews: [Review] }
      type Product @key(fields: "upc") { upc: String! reviews: [Review] }`,
    Review: { __resolveReference: ({ id }) => REVIEWS.find((review) => review.id === id), author: () => writer('1') },
    User: { __resolveReference: ({ id }) => writer(id) },
    Product: { reviews: ({ upc }) => REVIEWS.filter(({ product }) => product.upc === rowOf(upc)) },
  },
};

const SCHEMAS = Object.fromEntries(
  Object.entries(SUBGRAPHS).map(([name, { sdl, ...resolvers }]) => [
    name,
    buildSubgraphSchema({ typeDefs: parse(LINK + sdl), resolvers }),
  ]),
);

/** The schemas of the subgraphs, by name. */
export const typeDefs = Object.fromEntries(Object.entries(SUBGRAPHS).map(([name, { sdl }]) => [name, LINK + sdl]));

/** Answers a request to one of them. */
export async function answer(subgraph, body) {
  const { query, variables, operationName } = JSON.parse(body);
  return JSON.stringify(
    await graphql({ schema: SCHEMAS[subgraph], source: query, variableValues: variables, operationName }),
  );
}

const USER = 'id username name';
const PRODUCT = 'inStock name price shippingEstimate upc weight';
const REVIEWED = `reviews { id body author { ${USER} reviews { id body product { ${PRODUCT} } } } }`;

const OF_ONE_USER = `id username name
  reviews { id body product { upc name price inStock shippingEstimate reviews { id body } } }`;

export const QUERIES = {
  large: `query Large {
    users { ${USER} reviews { id body product { ${PRODUCT} ${REVIEWED} } } }
    topProducts { ${PRODUCT} ${REVIEWED} }
  }`,
  small: `query Small { topProducts(first: 5) { upc name price inStock reviews { id author { id username name } } } }`,
  distinct: `query Distinct($id: ID!) { user(id: $id) { ${OF_ONE_USER} } }`,
  unseen: `query Unseen_${TOKEN} { user(id: "1-${TOKEN}") { name_${TOKEN}: name ${OF_ONE_USER} } }`,
};

import type { Entity, FederatedCase } from './federated-case.ts';

// What graphs of several teams and ages are like. See cases.ts for the plainer ones.

const fails = (message: string) => new Error(message);
const entity = (type: string, fields: Record<string, unknown>): Entity => ({ __typename: type, ...fields });
const byId = (entities: readonly Entity[], type: string, id: unknown) =>
  entities.find((each) => each.__typename === type && each.id === id) ?? null;

const RATES: Readonly<Record<string, number>> = { USD: 1, EUR: 0.5, GBP: 0.25 };

function prices(): FederatedCase {
  const makers = ['1', '2'].map((id) =>
    entity('Maker', { id, country: id === '1' ? 'DE' : 'US', name: `Maker ${id}` }),
  );
  const products = ['1', '2', '3'].map((id) =>
    entity('Product', {
      id,
      amount: Number(id) * 100,
      // What `price(currency: "USD")` is, which another subgraph requires.
      price: id === '3' ? null : Number(id) * 100,
      label: `Label ${id}`,
      maker: makers[Number(id) % 2],
      size: entity('Size', { width: Number(id), height: 2 }),
      cover: id === '1' ? entity('Photo', { url: 'p', width: 4 }) : entity('Clip', { url: 'c', seconds: 9 }),
    }),
  );
  const entities = [...makers, ...products];
  return {
    name: '@requires with arguments, objects, fragments and lists; circles of @requires',
    entities,
    external: [
      'taxes.Product.price',
      'taxes.Product.size',
      'taxes.Product.cover',
      'taxes.Product.volume',
      'volumes.Product.area',
      'taxes.Maker.country',
    ],
    computed: {
      'Product.price': ({ amount, id }, { currency }) =>
        id === '3' && currency === 'USD' ? null : Number(amount) * (RATES[String(currency)] ?? Number.NaN),
      'Product.taxed': ({ price }, { rate }) => (price === null ? null : Number(price) * (1 + Number(rate ?? 2) / 10)),
      'Product.area': ({ size }) => Number((size as Entity).width) * Number((size as Entity).height),
      'Product.volume': (product) =>
        10 * Number(product.area ?? Number((product.size as Entity).width) * Number((product.size as Entity).height)),
      'Product.crate': (product) =>
        `crate ${product.volume ?? 10 * Number((product.size as Entity).width) * Number((product.size as Entity).height)}`,
      'Product.duty': ({ cover }) => {
        const { width, seconds } = cover as Entity;
        return width === undefined ? `clip ${seconds}` : `photo ${width}`;
      },
      'Maker.tariff': ({ country }) => (country === 'DE' ? 0 : 5),
    },
    roots: {
      products: () => products,
      product: ({ id }) => byId(entities, 'Product', id),
      makers: () => makers,
    },
    subgraphs: {
      goods: `
        type Query { products: [Product!]! product(id: ID!): Product }
        type Product @key(fields: "id") {
          id: ID! label(upper: Boolean): String price(currency: String!): Float size: Size! cover: Media maker: Maker
        }
        type Size @shareable { width: Int! height: Int! }
        union Media = Photo | Clip
        type Photo @shareable { url: String! width: Int }
        type Clip @shareable { url: String! seconds: Int }
        type Maker @key(fields: "id") { id: ID! name: String! }`,
      makers: `
        type Query { makers: [Maker!]! }
        type Maker @key(fields: "id") { id: ID! country: String! }`,
      taxes: `
        type Product @key(fields: "id") {
          id: ID!
          price(currency: String!): Float @external
          size: Size! @external
          cover: Media @external
          volume: Int @external
          taxed(rate: Int): Float @requires(fields: "price(currency: \\"USD\\")")
          area: Int @requires(fields: "size { width height }")
          duty: String @requires(fields: "cover { ... on Photo { width } ... on Clip { seconds } }")
          crate: String @requires(fields: "volume")
        }
        type Size @shareable { width: Int! height: Int! }
        union Media = Photo | Clip
        type Photo @shareable { url: String! width: Int }
        type Clip @shareable { url: String! seconds: Int }
        type Maker @key(fields: "id") { id: ID! country: String! @external tariff: Int @requires(fields: "country") }`,
      volumes: `
        type Product @key(fields: "id") { id: ID! area: Int @external volume: Int @requires(fields: "area") }`,
    },
  };
}

function forum(): FederatedCase {
  const posts = ['1', '2', '3'].map((id) =>
    entity('Post', { id, title: `Post ${id}`, likes: id === '2' ? fails('lost') : Number(id) }),
  );
  const people = ['1', '2'].map((id) =>
    entity('Person', {
      id,
      name: `P${id}`,
      locale: id === '1' ? 'de' : 'en',
      region: entity('Region', { code: `R${id}` }),
    }),
  );
  // A post says something else below each person: what `@fromContext` gives it.
  for (const person of people) {
    const { locale, region } = person;
    person.posts = posts
      .filter(({ id }) => id !== person.id)
      .map((post) => ({ ...post, locale, code: (region as Entity).code }));
  }
  const entities = [...people, ...posts];
  return {
    name: '@context and @fromContext: the same entity below different owners',
    entities,
    computed: {
      'Post.greeting': (post, { locale }) => `${locale ?? post.locale}: ${post.title}`,
      'Post.place': (post, { code }) => `${code ?? post.code}`,
    },
    roots: { people: () => people, person: ({ id }) => byId(entities, 'Person', id) },
    subgraphs: {
      people: `
        type Query { people: [Person!]! person(id: ID!): Person }
        type Person @key(fields: "id") @context(name: "owner") {
          id: ID! name: String! locale: String! region: Region! posts: [Post!]!
        }
        type Region @shareable { code: String! }
        type Post @key(fields: "id") {
          id: ID!
          greeting(locale: String @fromContext(field: "$owner { locale }")): String!
          place(code: String @fromContext(field: "$owner { region { code } }")): String
        }`,
      posts: `
        type Post @key(fields: "id") { id: ID! title: String! likes: Int }`,
    },
  };
}

function museum(): FederatedCase {
  const rooms = ['1', '2'].map((id) => entity('Room', { id, floor: Number(id), keeper: id === '1' ? 'Ann' : null }));
  const works = [
    entity('Painting', { id: '1', title: 'One', canvas: 'oak', room: rooms[0], kind: 'OLD', worth: 5 }),
    entity('Statue', { id: '2', title: 'Two', stone: 'marble', room: rooms[1], kind: 'NEW', worth: fails('unknown') }),
    entity('Painting', { id: '3', title: 'Three', canvas: null, room: null, kind: 'LOST', worth: 7 }),
  ];
  for (const room of rooms) room.works = works.filter((work) => work.room === room);
  const entities = [...rooms, ...works];
  return {
    name: 'unions and enums that differ, @provides on unions and interfaces, federation 1',
    entities,
    federation1: ['keepers'],
    roots: {
      works: () => works,
      work: ({ id }) => works.find((work) => work.id === id) ?? null,
      shown: () => works,
      rooms: () => rooms,
      pieces: ({ filter }) =>
        works.filter(({ id }) => !(filter as { id?: string } | null)?.id || id === (filter as { id: string }).id),
    },
    subgraphs: {
      works: `
        enum Kind { OLD NEW LOST }
        union Work = Painting | Statue
        input Filter { id: ID only: String }
        type Query { works: [Work!]! work(id: ID!): Work pieces(filter: Filter): [Piece!]! @shareable }
        interface Piece { id: ID! title: String! room: Room }
        type Painting implements Piece @key(fields: "id") { id: ID! title: String! @shareable canvas: String room: Room @shareable kind: Kind @shareable }
        type Statue implements Piece @key(fields: "id") { id: ID! title: String! @shareable stone: String! room: Room kind: Kind @shareable }
        type Room @key(fields: "id") { id: ID! }`,
      shows: `
        enum Kind { OLD NEW LOST }
        union Work = Painting | Statue
        type Query {
          shown: [Work!]! @provides(fields: "... on Painting { title room { floor } } ... on Statue { title }")
          pieces(filter: Filter): [Piece!]! @shareable
        }
        input Filter { id: ID }
        interface Piece { id: ID! title: String! }
        type Painting implements Piece @key(fields: "id") { id: ID! title: String! @external room: Room @external kind: Kind @shareable worth: Int }
        type Statue implements Piece @key(fields: "id") { id: ID! title: String! @external kind: Kind @shareable worth: Int }
        type Room @key(fields: "id") { id: ID! floor: Int @external }`,
      rooms: `
        type Query { rooms: [Room!]! }
        type Room @key(fields: "id") { id: ID! floor: Int @shareable works: [Held!]! }
        union Held = Painting | Statue
        type Painting @key(fields: "id") { id: ID! }
        type Statue @key(fields: "id") { id: ID! }`,
      keepers: `
        extend type Room @key(fields: "id") { id: ID! @external keeper: String }`,
    },
  };
}

function moving(): FederatedCase {
  const items = ['1', '2', '3'].map((id) =>
    entity('Item', {
      id,
      code: `C${id}`,
      stock: Number(id),
      name: `Item ${id}`,
      note: id === '2' ? fails('torn') : `n${id}`,
    }),
  );
  for (const [i, item] of items.entries()) item.next = items[i + 1] ?? null;
  return {
    name: 'progressive @override, shared roots, keys that lead from one to another',
    entities: items,
    labels: new Map([
      ['new-stock', 0.5],
      ['new-names', 0.5],
    ]),
    roots: {
      items: () => items,
      item: ({ id }) => byId(items, 'Item', id),
      first: () => items[0],
    },
    subgraphs: {
      old: `
        type Query { items: [Item!]! first: Item @shareable }
        type Item @key(fields: "id") { id: ID! stock: Int! name: String! next: Item note: String }`,
      stock: `
        type Query { item(id: ID!): Item first: Item @shareable }
        type Item @key(fields: "id") @key(fields: "code") { id: ID! code: ID! stock: Int! @override(from: "old", label: "new-stock") }`,
      names: `
        type Item @key(fields: "code") {
          code: ID! name: String! @override(from: "old", label: "percent(50)")
          note: String @override(from: "old", label: "new-names")
        }`,
    },
  };
}

function search(): FederatedCase {
  const users = ['1', '2'].map((id) => entity('User', { id, name: `U${id}`, bio: `bio ${id}`, level: Number(id) }));
  const posts = ['1', '2', '3'].map((id) => entity('Post', { id, title: `T${id}`, body: `B${id}`, author: users[0] }));
  const hits = [
    entity('Book', { id: '1', author: users[0], length: 10 }),
    entity('Movie', { id: '2', author: users[0], length: 'two hours' }),
    entity('Movie', { id: '3', author: users[1], length: 'short' }),
  ];
  for (const user of users) {
    user.posts = user.id === '1' ? posts : [];
    user.best = user.id === '1' ? posts[1] : null;
  }
  const entities = [...users, ...posts, ...hits];
  return {
    name: 'what one name means depends on the type of what holds it',
    entities,
    roots: { search: () => hits, hit: ({ id }) => hits.find((hit) => hit.id === id) ?? null },
    subgraphs: {
      search: `
        union Hit = Book | Movie
        type Query { search: [Hit!]! hit(id: ID!): Hit }
        type Book @key(fields: "id") { id: ID! author: User! }
        type Movie @key(fields: "id") { id: ID! author: User! }
        type User @key(fields: "id") { id: ID! }`,
      sizes: `
        type Book @key(fields: "id") { id: ID! length: Int! }
        type Movie @key(fields: "id") { id: ID! length: String! }`,
      users: `
        type User @key(fields: "id") { id: ID! name: String! bio: String level: Int posts: [Post!]! best: Post }
        type Post @key(fields: "id") { id: ID! }`,
      posts: `
        type Post @key(fields: "id") { id: ID! title: String! body: String author: User }
        type User @key(fields: "id") { id: ID! }`,
    },
  };
}

export const HARDER_CASES: readonly FederatedCase[] = [prices(), forum(), museum(), moving(), search()];

import type { Entity, FederatedCase } from './federated-case.ts';

const fails = (message: string) => new Error(message);
const entity = (type: string, fields: Record<string, unknown>): Entity => ({ __typename: type, ...fields });
const byId = (entities: readonly Entity[], type: string, id: unknown) =>
  entities.find((each) => each.__typename === type && each.id === id) ?? null;
const all = (entities: readonly Entity[], type: string) => entities.filter((each) => each.__typename === type);

/** Ids that random queries use; some do not exist. */
export const IDS = ['1', '2', '3', '4', 'nobody'];

function shop(): FederatedCase {
  const users = ['1', '2', '3'].map((id) =>
    entity('User', { id, name: id === '3' ? fails('no name') : `User ${id}`, email: `${id}@x.test`, vip: id === '1' }),
  );
  const products = ['1', '2', '3', '4'].map((id) =>
    entity('Product', {
      id,
      sku: `S${id}`,
      title: `Product ${id}`,
      price: id === '4' ? fails('no price') : Number(id) * 10,
      weight: Number(id) + 0.5,
      inStock: id !== '2',
      notes: id === '2' ? fails('no notes') : id === '3' ? null : ['a', null, 'b'],
    }),
  );
  const reviews = ['1', '2', '3', '4'].map((id) =>
    entity('Review', {
      id,
      body: `Review ${id}`,
      stars: Number(id),
      author: users[Number(id) % 3],
      product: products[Number(id) - 1],
    }),
  );
  for (const [i, user] of users.entries()) user.reviews = reviews.filter((_, n) => n % 3 === i);
  for (const product of products) product.reviews = reviews.filter((review) => review.product === product);
  for (const product of products) product.related = products.filter((each) => each !== product);
  const entities = [...users, ...products, ...reviews];
  return {
    name: 'keys, several keys, lists of entities, @requires, @provides',
    entities,
    external: ['shipping.Product.weight'],
    computed: {
      'Product.shipping': ({ weight }, { express }) =>
        weight === undefined ? null : Number(weight) * (express ? 2 : 1),
    },
    roots: {
      me: () => users[0],
      users: () => users,
      user: ({ id }) => byId(entities, 'User', id),
      products: ({ first }) => products.slice(0, (first as number | undefined) ?? 3),
      product: ({ id }) => byId(entities, 'Product', id),
      reviews: () => reviews,
    },
    subgraphs: {
      users: `
        type Query { me: User users: [User!]! user(id: ID!): User }
        type User @key(fields: "id") { id: ID! name: String email: String! vip: Boolean }`,
      products: `
        type Query { products(first: Int): [Product] product(id: ID!): Product }
        type Product @key(fields: "id") @key(fields: "sku") {
          id: ID! sku: String! title: String! @shareable price: Float! weight: Float! notes: [String] related: [Product!]!
        }`,
      reviews: `
        type Query { reviews: [Review!]! }
        type Review @key(fields: "id") {
          id: ID! body: String! stars: Int author: User product: Product! @provides(fields: "title")
        }
        type User @key(fields: "id") { id: ID! reviews: [Review!]! }
        type Product @key(fields: "id") { id: ID! title: String! @external reviews: [Review] }`,
      shipping: `
        type Product @key(fields: "sku") {
          sku: ID! @shareable weight: Float! @external
          shipping(express: Boolean): Float @requires(fields: "weight")
          inStock: Boolean!
        }`.replace('sku: ID! @shareable', 'sku: String!'),
    },
  };
}

function library(): FederatedCase {
  const authors = ['1', '2'].map((id) =>
    entity('Author', { id, name: `Author ${id}`, born: id === '1' ? 1900 : null }),
  );
  const items = [
    entity('Book', {
      id: '1',
      title: 'One',
      pages: 100,
      author: authors[0],
      rating: 4.5,
      shelf: entity('Shelf', { row: 1, side: 'LEFT' }),
    }),
    entity('Book', {
      id: '2',
      title: 'Two',
      pages: fails('torn'),
      author: authors[1],
      rating: null,
      shelf: entity('Shelf', { row: 2, side: 'RIGHT' }),
    }),
    entity('Film', { id: '3', title: 'Three', minutes: 90, director: authors[1], rating: 2, shelf: null }),
    entity('Film', {
      id: '4',
      title: fails('no title'),
      minutes: 60,
      director: null,
      rating: 1,
      shelf: entity('Shelf', { row: 3, side: 'LEFT' }),
    }),
  ];
  for (const author of authors) {
    author.works = items.filter((item) => (item.author ?? item.director) === author);
    author.favourite = author.id === '1' ? items[2] : authors[0];
  }
  const hidden = entity('Hidden', { id: '9', title: 'Nine', shelf: null });
  const entities = [...authors, ...items, hidden];
  return {
    name: 'interfaces, unions, enums, value types that are shared, a type that is @inaccessible',
    entities,
    roots: {
      items: () => items,
      item: ({ id }) => items.find((item) => item.id === id) ?? null,
      maybe: () => [items[0], hidden],
      authors: () => authors,
      anything: () => [authors[0], null, hidden, ...items],
      rated: () => items.filter((item) => item.rating !== null),
    },
    subgraphs: {
      catalogue: `
        enum Side { LEFT RIGHT }
        type Shelf @shareable { row: Int! side: Side }
        interface Item { id: ID! title: String! shelf: Shelf }
        union Thing = Book | Film | Author | Hidden
        type Hidden implements Item @inaccessible { id: ID! title: String! shelf: Shelf }
        type Query { items: [Item!] item(id: ID!): Item maybe: [Item] anything: [Thing] }
        type Book implements Item @key(fields: "id") { id: ID! title: String! pages: Int! shelf: Shelf author: Author }
        type Film implements Item @key(fields: "id") { id: ID! title: String! minutes: Int shelf: Shelf director: Author }
        type Author @key(fields: "id") { id: ID! works: [Item!]! favourite: Thing }`,
      people: `
        type Query { authors: [Author!]! }
        type Author @key(fields: "id") { id: ID! name: String! born: Int }`,
      ratings: `
        interface Rated { rating: Float }
        type Query { rated: [Rated!]! }
        type Book implements Rated @key(fields: "id") { id: ID! rating: Float }
        type Film implements Rated @key(fields: "id") { id: ID! rating: Float }`,
    },
  };
}

function media(): FederatedCase {
  const pieces = [
    entity('Song', { id: '1', title: 'One', seconds: 100, plays: 10, tags: ['a'] }),
    entity('Song', { id: '2', title: 'Two', seconds: 200, plays: fails('not counted'), tags: [] }),
    entity('Talk', { id: '3', title: 'Three', speaker: 'Ada', plays: 30, tags: ['b', 'c'] }),
  ];
  const lists = ['1', '2'].map((id) =>
    entity('Playlist', { id, name: `List ${id}`, pieces: id === '1' ? pieces : [pieces[2]] }),
  );
  for (const piece of pieces) piece.listedIn = lists.filter((list) => (list.pieces as Entity[]).includes(piece));
  const entities = [...pieces, ...lists];
  return {
    name: 'entity interfaces and @interfaceObject',
    entities,
    roots: {
      pieces: () => pieces,
      piece: ({ id }) => pieces.find((piece) => piece.id === id) ?? null,
      playlists: () => lists,
      top: () => pieces[0],
    },
    subgraphs: {
      pieces: `
        type Query { pieces: [Piece!]! piece(id: ID!): Piece }
        interface Piece @key(fields: "id") { id: ID! title: String! }
        type Song implements Piece @key(fields: "id") { id: ID! title: String! seconds: Int! }
        type Talk implements Piece @key(fields: "id") { id: ID! title: String! speaker: String }`,
      plays: `
        type Query { playlists: [Playlist!]! top: Piece }
        type Piece @key(fields: "id") @interfaceObject { id: ID! plays: Int tags: [String!]! listedIn: [Playlist!]! }
        type Playlist @key(fields: "id") { id: ID! name: String! pieces: [Piece!]! }`,
    },
  };
}

function company(): FederatedCase {
  const offices = ['1', '2'].map((id) => entity('Office', { id, city: `City ${id}`, floors: Number(id) * 3 }));
  const teams = ['1', '2', '3'].map((id) =>
    entity('Team', {
      name: `T${id}`,
      office: offices[Number(id) % 2],
      budget: Number(id) * 100,
      motto: id === '2' ? fails('none') : `Motto ${id}`,
    }),
  );
  const people = ['1', '2', '3', '4'].map((id) =>
    entity('Person', {
      id,
      number: Number(id),
      name: `P${id}`,
      team: teams[Number(id) % 3],
      salary: Number(id) * 1000,
      secret: 'x',
      level: id === '4' ? 'BOSS' : 'STAFF',
    }),
  );
  for (const team of teams) team.members = people.filter((person) => person.team === team);
  for (const person of people) person.boss = person.id === '4' ? null : people[3];
  const entities = [...offices, ...teams, ...people];
  return {
    name: 'compound and nested keys, @override, @inaccessible, chains of @requires',
    entities,
    external: ['payroll.Person.number', 'payroll.Person.level', 'bonus.Person.salary'],
    computed: {
      'Person.grade': ({ number, level }) => `${level}-${number}`,
      'Person.bonus': ({ salary }) => (typeof salary === 'number' ? salary / 10 : null),
    },
    roots: {
      people: () => people,
      person: ({ id }) => byId(entities, 'Person', id),
      teams: () => all(entities, 'Team'),
      offices: () => offices,
    },
    subgraphs: {
      staff: `
        enum Level { STAFF BOSS }
        type Query { people: [Person!]! person(id: ID!): Person }
        type Person @key(fields: "id") {
          id: ID! number: Int! name: String! level: Level! team: Team boss: Person secret: String @inaccessible
        }
        type Team @key(fields: "name office { id }") { name: String! office: Office! @shareable members: [Person!]! }
        type Office @key(fields: "id", resolvable: false) { id: ID! }`,
      places: `
        type Query { teams: [Team!]! offices: [Office!]! }
        type Team @key(fields: "name office { id }") { name: String! office: Office! @shareable budget: Int motto: String! }
        type Office @key(fields: "id") { id: ID! city: String! floors: Int! }`,
      payroll: `
        enum Level { STAFF BOSS }
        type Person @key(fields: "id") {
          id: ID! salary: Int! number: Int! @external level: Level! @external
          grade: String @requires(fields: "number level")
        }`,
      bonus: `
        type Person @key(fields: "id") {
          id: ID! name: String! @override(from: "staff") salary: Int! @external bonus: Float @requires(fields: "salary")
        }`,
    },
  };
}

function tree(): FederatedCase {
  const nodes = ['1', '2', '3', '4'].map((id) =>
    entity('Node', {
      id,
      label: `N${id}`,
      value: id === '3' ? fails('lost') : Number(id),
      size: Number(id),
      matrix: [[1, null], [Number(id)]],
      list: id === '2' ? null : [1, 2],
    }),
  );
  const [root, left, right, leaf] = nodes as [Entity, Entity, Entity, Entity];
  Object.assign(root, { children: [left, right, null], parent: null, first: left });
  Object.assign(left, { children: [leaf], parent: root, first: leaf });
  Object.assign(right, { children: [], parent: root, first: fails('nobody') });
  Object.assign(leaf, { children: null, parent: left, first: null });
  return {
    name: 'recursion through subgraphs, lists of lists, nulls at every place',
    entities: nodes,
    roots: {
      root: () => root,
      nodes: () => [root, null, leaf],
      node: ({ id }) => byId(nodes, 'Node', id),
      count: () => 4,
    },
    subgraphs: {
      shape: `
        type Query { root: Node nodes: [Node] node(id: ID!): Node }
        type Node @key(fields: "id") { id: ID! children: [Node] parent: Node first: Node }`,
      values: `
        type Query { count: Int! }
        type Node @key(fields: "id") { id: ID! label: String! value: Int! list: [Int!] matrix: [[Int]!]! }`,
      sizes: `
        type Node @key(fields: "id") { id: ID! size: Float }`,
    },
  };
}

export const CASES: readonly FederatedCase[] = [shop(), library(), media(), company(), tree()];

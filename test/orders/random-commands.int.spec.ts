import { OrdersOperations } from '@tributary/orders/operations';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startGraph, type TestGraph } from '../harness/graph.ts';
import { ask, type GraphQLAnswer } from '../harness/graphql-client.ts';
import { Random } from '../harness/random.ts';
import { until } from '../harness/until.ts';

const COMMANDS = Number(process.env.API_OPERATIONS ?? 600);
const SEED = Number(process.env.API_SEED ?? 14);
const CLIENTS = 8;
/** What a command may answer; anything else is a fault. */
const REFUSALS = new Set(['BAD_USER_INPUT', 'NOT_FOUND', 'CONFLICT']);
const NONSENSE = ['', ' ', 'nobody', '\ud800', 'a\0b', '😀', 'x'.repeat(500), 'José', 'refund:x', '-1', '{}', 'null'];

let graph: TestGraph;
beforeAll(async () => {
  graph = await startGraph();
});
afterAll(() => graph?.stop());

/** Errors that no client caused. A refused field also takes the data of the fields beside it, which the gateway reports. */
function faultsOf({ data, errors = [] }: GraphQLAnswer): unknown[] {
  const faults = errors.filter(({ extensions }) => !REFUSALS.has(String(extensions?.code)));
  const refused = data === null && faults.length < errors.length;
  return refused ? faults.filter(({ extensions }) => extensions.code !== 'INVALID_SUBGRAPH_RESPONSE') : faults;
}

/** The objects that commands of the run are about. */
interface World {
  readonly users: string[];
  readonly products: string[];
  readonly orders: string[];
  readonly keys: string[];
}

interface Command {
  readonly field: string;
  readonly variables: Readonly<Record<string, unknown>>;
  readonly types: string;
  /** Remembers what the command made. */
  readonly keep?: (value: { readonly id: string }) => void;
}

const some = (random: Random, ids: readonly string[]) =>
  ids.length === 0 || random.below(12) === 0 ? random.pick(NONSENSE) : random.pick(ids);

const keyOf = (random: Random, { keys, orders }: World) => {
  if (random.below(4) === 0 && keys.length > 0) return random.pick(keys);
  if (random.below(10) === 0) return `${random.pick(['refund', 'charge'])}:${some(random, orders)}`;
  const key = `key ${random.next()}`;
  keys.push(key);
  return key;
};

const COMMAND_MAKERS: readonly ((random: Random, world: World) => Command)[] = [
  (random, { users }) => ({
    field: 'registerUser(input: $input) { id name email version account { balance { amount } } }',
    types: '$input: RegisterUserInput!',
    variables: {
      input: {
        name: random.pick(['Ada', 'St.John Rivers', 'José', ...NONSENSE]),
        email: `${random.next()}@example.org`,
      },
    },
    keep: ({ id }) => users.push(id),
  }),
  (random, { users }) => ({
    field:
      'updateUser(id: $id, input: $input) { id name status version orders { totalCount nodes { customer { name } } } }',
    types: '$id: ID!, $input: UpdateUserInput!',
    variables: {
      id: some(random, users),
      input: { name: random.pick(['Grace', ...NONSENSE]), status: random.pick(['ACTIVE', 'ACTIVE', 'SUSPENDED']) },
    },
  }),
  (random, { users }) => ({
    field: 'deleteUser(id: $id) { id name email status }',
    types: '$id: ID!',
    variables: { id: random.below(4) === 0 ? some(random, users) : 'nobody' },
  }),
  ...Array.from({ length: 3 }, () => (random: Random, world: World) => ({
    field: 'deposit(userId: $id, amount: $amount, idempotencyKey: $key) { balance { amount } entries { totalCount } }',
    types: '$id: ID!, $amount: Decimal!, $key: ID!',
    variables: {
      id: some(random, world.users),
      amount: random.pick(['100', '0.01', '50.50', '-1', '1e3', '9999999999']),
      key: keyOf(random, world),
    },
  })),
  (random, { products }) => ({
    field: 'createProduct(input: $input) { id sku name price { amount } stock { available } }',
    types: '$input: CreateProductInput!',
    variables: {
      input: {
        sku: random.pick([`sku ${random.next()}`, 'sku', ...NONSENSE]),
        name: random.pick(['A lamp', ...NONSENSE]),
        category: 'Furniture',
        subCategory: 'Lamps',
        price: random.pick(['10', '0.01', '3.99', '1000000', '0']),
        onHand: random.below(30),
        attributes: random.pick([{}, { path: 'C:\\udata' }, { a: [[[[1]]]] }, { '\0': 1 }, []]),
      },
    },
    keep: ({ id }) => products.push(id),
  }),
  (random, { products }) => ({
    field: 'changePrice(id: $id, price: $price) { id price { amount } version }',
    types: '$id: ID!, $price: Decimal!',
    variables: { id: some(random, products), price: random.pick(['5', '7.77', '0.005', '12']) },
  }),
  (random, world) => ({
    field: 'restock(id: $id, quantity: $quantity, idempotencyKey: $key) { id stock { onHand reserved available } }',
    types: '$id: ID!, $quantity: Int!, $key: ID!',
    variables: { id: some(random, world.products), quantity: random.pick([1, 20, 0, -5]), key: keyOf(random, world) },
  }),
  (random, { products }) => ({
    field: 'discontinueProduct(id: $id) { id status }',
    types: '$id: ID!',
    variables: { id: random.below(4) === 0 ? some(random, products) : 'nothing' },
  }),
  ...Array.from({ length: 8 }, () => (random: Random, world: World) => ({
    field: `placeOrder(input: $input, idempotencyKey: $key) {
      id number status version total { amount } history { version } items { lineTotal { amount } product { sku name price { amount } } }
      customer { name email status orderStats { orderCount } } saga { status steps { name } }
    }`,
    types: '$input: PlaceOrderInput!, $key: ID!',
    variables: {
      input: {
        customerId: some(random, world.users),
        items: Array.from({ length: random.pick([1, 1, 2, 3, 0]) }, () => ({
          productId: some(random, world.products),
          quantity: random.pick([1, 2, 5, 100, 0, -1]),
        })),
        waitMs: random.pick([0, 0, 20, 2000, -1, 2_147_483_647]),
      },
      key: keyOf(random, world),
    },
    keep: ({ id }: { readonly id: string }) => world.orders.push(id),
  })),
  ...Array.from({ length: 3 }, () => (random: Random, { orders }: World) => ({
    field: 'cancelOrder(id: $id, reason: $reason) { id status version history { type version } saga { status } }',
    types: '$id: ID!, $reason: String!',
    variables: { id: some(random, orders), reason: random.pick(['changed my mind', ...NONSENSE]) },
  })),
];

/** One to three commands in one named mutation, each with variables of its own. */
async function send(random: Random, world: World): Promise<GraphQLAnswer> {
  const commands = Array.from({ length: random.pick([1, 1, 2, 3]) }, () => random.pick(COMMAND_MAKERS)(random, world));
  const variables: Record<string, unknown> = {};
  const fields = commands.map(({ field, variables: own }, i) => {
    for (const [name, value] of Object.entries(own)) variables[`${name}${i}`] = value;
    return `c${i}: ${field.replaceAll(/\$(\w+)/g, `$$$1${i}`)}`;
  });
  const types = commands.map((command, i) => command.types.replaceAll(/\$(\w+)/g, `$$$1${i}`));
  const query = `mutation Commands(${types.join(', ')}) { ${fields.join(' ')} }`;
  const answer = await ask(graph.urls.gateway, query, variables);
  commands.forEach(({ keep }, i) => {
    const value = answer.data?.[`c${i}`];
    if (value?.id) keep?.(value);
  });
  return answer;
}

const USER = `id name email status segment version createdAt updatedAt addresses { city }
  account { balance { amount } entries(first: 100) { totalCount nodes { amount { amount } } } }
  orderStats { orderCount totalSpent { amount } lastOrderAt } orders(first: 1) { totalCount }`;
const PRODUCT = `id sku name category subCategory price { amount } attributes status version createdAt updatedAt
  stock { onHand reserved available } sales { unitsSold revenue { amount } orderCount }`;
const LISTS: Readonly<Record<string, string>> = {
  users: USER,
  products: PRODUCT,
  orders: `id number status version rejection placedAt updatedAt total { amount }
    history { type version at data } saga { id status finishedAt steps { name outcome attempts at error } }
    customer { id name email status account { balance { amount } } }
    items { quantity unitPrice { amount } discount lineTotal { amount } product { ${PRODUCT} } }`,
};

/** Every object of a list, read in full; an error of any kind fails. */
async function readAll(list: string, headers: Record<string, string>) {
  const nodes = [];
  let after: string | null = null;
  for (;;) {
    const answer: GraphQLAnswer = await graph.ask(
      `query All($after: String) { page: ${list}(first: 100, after: $after) { totalCount pageInfo { hasNextPage endCursor } nodes { ${LISTS[list]} } } }`,
      { after },
      headers,
    );
    expect(answer.errors).toBeUndefined();
    nodes.push(...answer.data.page.nodes);
    after = answer.data.page.pageInfo.endCursor;
    if (answer.data.page.pageInfo.hasNextPage) continue;
    expect(nodes).toHaveLength(answer.data.page.totalCount);
    return nodes;
  }
}

test(`after ${COMMANDS} random commands (seed ${SEED}) everything reads in full, is settled, and adds up`, {
  timeout: 120_000 + COMMANDS * 100,
}, async () => {
  const world: World = { users: ['CG-12520'], products: ['FUR-BO-10001798'], orders: ['CA-2016-152156'], keys: [] };
  const faults: unknown[] = [];
  let left = COMMANDS;
  await Promise.all(
    Array.from({ length: CLIENTS }, async (_, client) => {
      const random = new Random(SEED * 1000 + client);
      while (left-- > 0) {
        faults.push(...faultsOf(await send(random, world)));
      }
    }),
  );
  expect(faults).toEqual([]);

  await until(
    () => graph.databases.query('orders', 'select status, steps from placement_sagas where finished_at is null'),
    (open) => open.length === 0,
    60_000,
  );
  await until(
    async () =>
      Promise.all(
        (['users', 'products', 'orders'] as const).map(async (service) => {
          const copies = (await (await fetch(`${graph.urls[service]}/copies`)).json()) as Record<
            string,
            { position: number; head: number }
          >;
          return Object.values(copies).every(({ position, head }) => position === head);
        }),
      ),
    (level) => level.every(Boolean),
  );
  for (const list of Object.keys(LISTS)) {
    const fromOwners = await readAll(list, { 'x-max-staleness': '0' });
    expect(await readAll(list, {})).toEqual(fromOwners);
    if (list === 'orders') expectOrders(fromOwners);
    if (list === 'users') expectUsers(fromOwners);
  }
  const operations = new OrdersOperations(graph.databases.urls.orders, {
    USERS_URL: graph.urls.users,
    PRODUCTS_URL: graph.urls.products,
  });
  expect((await operations.verify(false)).map(({ differences }) => differences)).toEqual([[], []]);
  expect(await operations.audit()).toEqual([]);
  await operations.close();
});

const cents = (amount: string) => Math.round(Number(amount) * 100);
const sum = (amounts: readonly { readonly amount: string }[]) =>
  amounts.reduce((all, { amount }) => all + cents(amount), 0);

// biome-ignore lint/suspicious/noExplicitAny: as loose as the answer
function expectOrders(orders: readonly any[]): void {
  for (const { id, status, version, total, items, history } of orders) {
    expect(status, id).not.toBe('PENDING');
    expect(sum(items.map(({ lineTotal }: never) => lineTotal)), id).toBe(cents(total.amount));
    expect(history.at(-1).version, id).toBe(version);
  }
  expect(new Set(orders.map(({ number }) => number)).size).toBe(orders.length);
}

// biome-ignore lint/suspicious/noExplicitAny: as loose as the answer
function expectUsers(users: readonly any[]): void {
  for (const { id, account } of users) {
    const { balance, entries } = account;
    if (entries.totalCount > 100) continue;
    expect(sum(entries.nodes.map(({ amount }: never) => amount)), id).toBe(cents(balance.amount));
  }
}

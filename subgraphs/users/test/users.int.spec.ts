import { signToken } from '@tributary/subgraph';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startGraph, type TestGraph, TOKEN_SECRET } from '../../../test/harness/graph.ts';
import { ask, codesOf } from '../../../test/harness/graphql-client.ts';
import { until } from '../../../test/harness/until.ts';

let graph: TestGraph;
beforeAll(async () => {
  graph = await startGraph();
});
afterAll(() => graph?.stop());

const FIELDS = 'id name email status segment version createdAt updatedAt addresses { city postalCode country }';

async function register(input: Record<string, unknown>) {
  return graph.ask(`mutation ($input: RegisterUserInput!) { registerUser(input: $input) { ${FIELDS} } }`, { input });
}

async function update(id: string, input: Record<string, unknown>) {
  return graph.ask(
    `mutation ($id: ID!, $input: UpdateUserInput!) { updateUser(id: $id, input: $input) { ${FIELDS} } }`,
    {
      id,
      input,
    },
  );
}

async function userCount(): Promise<number> {
  return (await graph.ask('{ users(first: 0) { totalCount } }')).data.users.totalCount;
}

test('a registered user has an account, an address and version 1, is listed, found and counted', async () => {
  const before = await userCount();
  const { data } = await register({
    name: '  Ada Zuse ',
    email: 'ada@zuse.test',
    segment: 'Consumer',
    address: { city: 'Berlin', country: 'Germany' },
  });
  const user = data.registerUser;
  expect(user).toMatchObject({
    name: 'Ada Zuse',
    status: 'ACTIVE',
    version: 1,
    addresses: [{ city: 'Berlin', postalCode: null }],
  });
  expect(await userCount()).toBe(before + 1);

  const found = await graph.ask(
    '{ users(search: "ada zus") { totalCount nodes { id account { balance { amount } entries { totalCount } } orders { totalCount } orderStats { orderCount totalSpent { amount } lastOrderAt } } } }',
  );
  expect(found.data.users).toEqual({
    totalCount: 1,
    nodes: [
      {
        id: user.id,
        account: { balance: { amount: '0.00' }, entries: { totalCount: 0 } },
        orders: { totalCount: 0 },
        orderStats: { orderCount: 0, totalSpent: { amount: '0.00' }, lastOrderAt: null },
      },
    ],
  });
});

test('an update changes the given fields and increases the version; one without a change does not', async () => {
  const { id } = (await register({ name: 'Grace Hopper', email: 'grace@navy.test' })).data.registerUser;
  const changed = await update(id, { name: 'Grace Murray Hopper', expectedVersion: 1 });
  expect(changed.data.updateUser).toMatchObject({ name: 'Grace Murray Hopper', email: 'grace@navy.test', version: 2 });
  const same = await update(id, { name: 'Grace Murray Hopper', expectedVersion: 2 });
  expect(same.data.updateUser.version).toBe(2);
});

test('of two updates that saw the same version, one is refused with CONFLICT', async () => {
  const { id } = (await register({ name: 'Original', email: 'race@users.test' })).data.registerUser;
  const answers = await Promise.all([
    update(id, { name: 'One', expectedVersion: 1 }),
    update(id, { name: 'Two', expectedVersion: 1 }),
  ]);
  const refused = answers.filter((answer) => answer.errors);
  expect(refused).toHaveLength(1);
  expect(refused[0]?.errors?.[0]?.extensions).toMatchObject({
    code: 'CONFLICT',
    reason: 'STALE_VERSION',
    field: 'expectedVersion',
  });
});

test('deleting erases what is personal, keeps the id for orders, and is done once', async () => {
  const before = await userCount();
  const { data } = await graph.ask(`mutation { deleteUser(id: "AA-10315") { ${FIELDS} } }`);
  expect(data.deleteUser).toMatchObject({
    id: 'AA-10315',
    name: 'Deleted user',
    status: 'DELETED',
    segment: null,
    version: 2,
    addresses: [],
  });
  expect(JSON.stringify(data)).not.toMatch(/alex|avila/i);
  expect(await userCount()).toBe(before - 1);

  expect((await graph.ask('mutation { deleteUser(id: "AA-10315") { version } }')).data.deleteUser.version).toBe(2);
  expect((await graph.ask('{ users(search: "Deleted") { totalCount nodes { id } } }')).data.users).toEqual({
    totalCount: 0,
    nodes: [],
  });
  expect((await graph.ask('{ user(id: "AA-10315") { status orders { totalCount } } }')).data.user).toMatchObject({
    status: 'DELETED',
    orders: { totalCount: expect.any(Number) },
  });
  const late = await update('AA-10315', { name: 'Alex Avila' });
  expect(late.errors?.[0]?.extensions).toMatchObject({ code: 'CONFLICT', reason: 'USER_DELETED' });
  const rows = await graph.databases.query('users', "select * from users where id = 'AA-10315'");
  expect(JSON.stringify(rows)).not.toMatch(/alex|avila/i);
});

describe('deposit', () => {
  const deposit = (userId: string, amount: string, idempotencyKey: string) =>
    graph.ask(
      `mutation ($userId: ID!, $amount: Decimal!, $idempotencyKey: ID!) {
        deposit(userId: $userId, amount: $amount, idempotencyKey: $idempotencyKey) {
          balance { amount currency } entries(first: 1) { totalCount nodes { amount { amount } reason } }
        }
      }`,
      { userId, amount, idempotencyKey },
    );

  test('ten requests with one key, at once, count once', async () => {
    const answers = await Promise.all(Array.from({ length: 10 }, () => deposit('CG-12520', '0.10', 'key-1')));
    expect(answers.flatMap(codesOf)).toEqual([]);
    const last = await deposit('CG-12520', '0.1', 'key-1');
    expect(last.data.deposit).toEqual({
      balance: { amount: '1000.10', currency: 'USD' },
      entries: { totalCount: 2, nodes: [{ amount: { amount: '0.10' }, reason: 'deposit' }] },
    });
  });

  test('the key of one deposit is refused for another amount, and is a key of its own for another account', async () => {
    await deposit('CG-12520', '5', 'key-2');
    const other = await deposit('CG-12520', '6', 'key-2');
    expect(other.errors?.[0]?.extensions).toMatchObject({ code: 'CONFLICT', reason: 'IDEMPOTENCY_KEY_REUSED' });
    const { id } = (await register({ name: 'Own Keys', email: 'own@keys.test' })).data.registerUser;
    for (let time = 0; time < 2; time++) {
      expect((await deposit(id, '5', 'key-2')).data.deposit.balance.amount).toBe('5.00');
    }
  });

  test.each(['gateway', 'users'] as const)(
    'each deposit of one mutation returns the balance and the entries after itself (%s)',
    async (service) => {
      const { id } = (await register({ name: 'Several', email: `several-${service}@users.test` })).data.registerUser;
      const { data, errors } = await ask(
        graph.urls[service],
        `mutation Deposits($id: ID!, $name: String!) {
          first: deposit(userId: $id, amount: "10", idempotencyKey: "one-${service}") { balance { amount } entries { totalCount } }
          renamed: updateUser(id: $id, input: { name: $name }) { name version account { balance { amount } } }
          second: deposit(userId: $id, amount: "5", idempotencyKey: "two-${service}") {
            balance { amount } entries(first: 9) { totalCount nodes { amount { amount } } }
          }
        }`,
        { id, name: 'Renamed' },
      );
      expect(errors).toBeUndefined();
      expect(data).toEqual({
        first: { balance: { amount: '10.00' }, entries: { totalCount: 1 } },
        renamed: { name: 'Renamed', version: 2, account: { balance: { amount: '10.00' } } },
        second: {
          balance: { amount: '15.00' },
          entries: { totalCount: 2, nodes: [{ amount: { amount: '5.00' } }, { amount: { amount: '10.00' } }] },
        },
      });
    },
  );

  test('what is deposited at once adds up exactly', async () => {
    await Promise.all(Array.from({ length: 25 }, (_, i) => deposit('DV-13045', '0.01', `sum-${i}`)));
    const { data } = await graph.ask('{ user(id: "DV-13045") { account { balance { amount } } } }');
    expect(data.user.account.balance.amount).toBe('1000.25');
  });

  test('entries page from the newest to the oldest without repeats', async () => {
    const amounts: string[] = [];
    let after: string | null = null;
    for (;;) {
      const answer = await graph.ask(
        'query ($after: String) { user(id: "DV-13045") { account { entries(first: 7, after: $after) { nodes { id } pageInfo { hasNextPage endCursor } } } } }',
        { after },
      );
      const page: { nodes: { id: string }[]; pageInfo: { hasNextPage: boolean; endCursor: string } } =
        answer.data.user.account.entries;
      amounts.push(...page.nodes.map((node) => node.id));
      if (!page.pageInfo.hasNextPage) break;
      after = page.pageInfo.endCursor;
    }
    expect(amounts).toHaveLength(26);
    expect(amounts).toEqual([...new Set(amounts)].sort((a, b) => Number(b) - Number(a)));
  });
});

describe('a client that deposits under the keys of the system', () => {
  const hostileDeposit = async (key: string) => {
    const { errors } = await graph.ask(
      'mutation Hostile($key: ID!) { deposit(userId: "DV-13045", amount: "0.01", idempotencyKey: $key) { balance { amount } } }',
      { key },
    );
    expect(errors).toBeUndefined();
  };
  const balanceOf = async (id: string) =>
    (await graph.ask('query Balance($id: ID!) { user(id: $id) { account { balance { amount } } } }', { id })).data.user
      .account.balance.amount;

  test("stops no refund of another user's order", async () => {
    const { id } = (await register({ name: 'Victim', email: 'victim@keys.test' })).data.registerUser;
    const { data } = await graph.ask(
      `mutation Buy($id: ID!, $input: PlaceOrderInput!) {
        deposit(userId: $id, amount: "500", idempotencyKey: "start") { balance { amount } }
        placeOrder(input: $input, idempotencyKey: "victim") { id status }
      }`,
      { id, input: { customerId: id, items: [{ productId: 'OFF-BI-10003910', quantity: 1 }], waitMs: 15_000 } },
    );
    expect(data.placeOrder.status).toBe('CONFIRMED');
    expect(await balanceOf(id)).not.toBe('500.00');
    for (const reason of ['refund', 'charge']) await hostileDeposit(`${reason}:${data.placeOrder.id}`);
    await graph.ask('mutation Cancel($id: ID!) { cancelOrder(id: $id, reason: "changed my mind") { status } }', {
      id: data.placeOrder.id,
    });
    await until(
      () => balanceOf(id),
      (balance) => balance === '500.00',
    );
    expect(await graph.databases.query('users', 'select from dead_letters')).toEqual([]);
  });

  test('stops no charge', async () => {
    await hostileDeposit('charge:charge-of-a-victim');
    await paymentCommand('ChargeAccount', 'charge-of-a-victim', 1, {
      userId: 'AA-10480',
      amount: '10.00',
      currency: 'USD',
    });
    await until(
      () => graph.databases.query('users', "select status from payments where order_id = 'charge-of-a-victim'"),
      ([payment]) => payment?.status === 'CHARGED',
    );
    expect(await balanceOf('AA-10480')).toBe('990.00');
  });
});

/** Lets the orders service ask for a payment, as its event log would. */
async function paymentCommand(type: string, orderId: string, version: number, data: object): Promise<void> {
  await graph.databases.query(
    'orders',
    `insert into outbox (id, type, schema_version, aggregate_type, aggregate_id, aggregate_version, occurred_at, data)
     values (gen_random_uuid(), $1, 1, 'Placement', $2, $3, now(), $4)`,
    [type, orderId, version, JSON.stringify(data)],
  );
}

test('every reply to the refund of a refused charge has the amount 0', async () => {
  await paymentCommand('ChargeAccount', 'refused-charge', 1, {
    userId: 'AA-10645',
    amount: '5000.00',
    currency: 'USD',
  });
  for (let version = 2; version <= 4; version++) await paymentCommand('RefundPayment', 'refused-charge', version, {});
  const answers = await until(
    () =>
      graph.databases.query(
        'users',
        "select type, data ->> 'amount' as amount from outbox where aggregate_id = 'refused-charge' order by aggregate_version",
      ),
    (rows) => rows.length === 4,
  );
  expect(answers).toEqual([
    { type: 'PaymentRefused', amount: null },
    ...Array.from({ length: 3 }, () => ({ type: 'PaymentRefunded', amount: '0.00' })),
  ]);
  const payments = await graph.databases.query(
    'users',
    "select amount from payments where order_id = 'refused-charge'",
  );
  expect(payments).toEqual([{ amount: '0.00' }]);
});

describe('an account at the end of what it can hold', () => {
  const set = (id: string, column: string, value: number) =>
    graph.databases.query('users', `update accounts set ${column} = $2 where user_id = $1`, [id, value]);
  const deposit = (id: string) =>
    graph.ask(
      'mutation Deposit($id: ID!) { deposit(userId: $id, amount: "1000000", idempotencyKey: "last") { balance { amount } } }',
      { id },
    );

  test.each([
    ['balance', 999_999_999_999_999],
    ['version', 2_146_483_647],
  ])('refuses a deposit cleanly, and the key can be used again (%s)', async (column, value) => {
    const { id } = (await register({ name: 'Rich', email: `rich-${column}@limits.test` })).data.registerUser;
    await set(id, column, value);
    const refused = await deposit(id);
    expect(refused.errors?.[0]?.extensions).toMatchObject({ code: 'CONFLICT', reason: 'ACCOUNT_LIMIT' });
    await set(id, column, 0);
    expect((await deposit(id)).errors).toBeUndefined();
  });

  test('refuses a charge, but takes back the money of an earlier one', async () => {
    const { id } = (await register({ name: 'Busy', email: 'busy@limits.test' })).data.registerUser;
    await deposit(id);
    await set(id, 'version', 2_146_483_646);
    const order = (key: string) =>
      graph.ask(
        'mutation Buy($input: PlaceOrderInput!, $key: ID!) { placeOrder(input: $input, idempotencyKey: $key) { id status rejection } }',
        { input: { customerId: id, items: [{ productId: 'OFF-BI-10003910', quantity: 1 }], waitMs: 15_000 }, key },
      );
    const { data: last } = await order('busy-1');
    expect(last.placeOrder.status).toBe('CONFIRMED');
    const { data: beyond } = await order('busy-2');
    expect(beyond.placeOrder).toMatchObject({ status: 'REJECTED', rejection: expect.stringContaining('account') });
    await graph.ask('mutation Cancel($id: ID!) { cancelOrder(id: $id, reason: "no") { status } }', {
      id: last.placeOrder.id,
    });
    await until(
      () => graph.databases.query('users', 'select balance from accounts where user_id = $1', [id]),
      ([account]) => account?.balance === '1000000.00',
    );
    expect(await graph.databases.query('users', 'select from dead_letters')).toEqual([]);
  });
});

test('a user that was changed as often as can be counted can still be deleted', async () => {
  const { id } = (await register({ name: 'Often', email: 'often@limits.test' })).data.registerUser;
  await graph.databases.query('users', 'update users set version = 2146483647 where id = $1', [id]);
  expect((await update(id, { name: 'Once More' })).errors?.[0]?.extensions).toMatchObject({
    code: 'CONFLICT',
    reason: 'VERSION_LIMIT',
  });
  const { data } = await graph.ask('mutation Delete($id: ID!) { deleteUser(id: $id) { status } }', { id });
  expect(data.deleteUser.status).toBe('DELETED');
});

describe('texts', () => {
  test.each([
    ['zero-width characters only', '\u200b\u2060\ufeff', 'EMPTY'],
    ['a filler letter only', '\u3164', 'EMPTY'],
    ['control characters only', '\u0001\u0002', 'CHARACTER'],
    ['a control character', 'Ann\u0007a', 'CHARACTER'],
    ['NUL', 'Ann\0a', 'CHARACTER'],
    ['two lines', 'Anna\nBob', 'CHARACTER'],
    ['a line separator', 'Anna\u2028Bob', 'CHARACTER'],
  ])('a name with %s is refused', async (_what, name, reason) => {
    const answers = [
      await register({ name, email: 'odd@texts.test' }),
      await update('CG-12520', { name }),
      await register({ name: 'A', email: 'odd@texts.test', address: { city: name, country: 'X' } }),
    ];
    for (const { errors } of answers) expect(errors?.[0]?.extensions).toMatchObject({ code: 'BAD_USER_INPUT', reason });
  });

  test('names and e-mail addresses are one text, composed or decomposed', async () => {
    const { data } = await register({ name: 'Zoe\u0308 Bront\u00eb', email: 'zoe\u0308@texts.test' });
    expect(data.registerUser).toMatchObject({ name: 'Zo\u00eb Bront\u00eb', email: 'zo\u00eb@texts.test' });
    const twin = await register({ name: 'Twin', email: 'zo\u00eb@texts.test' });
    expect(twin.errors?.[0]?.extensions).toMatchObject({ code: 'CONFLICT', reason: 'EMAIL_TAKEN' });
  });

  test('names in every script, with emoji, are stored unchanged', async () => {
    for (const [i, name] of ['हिन्दी देवी', '山田 太郎', '👩‍👩‍👧', "O'Neill-Ó Súilleabháin"].entries()) {
      const { data } = await register({ name, email: `script-${i}@texts.test` });
      expect(data.registerUser.name).toBe(name.normalize('NFC'));
    }
  });
});

describe('a search', () => {
  const NAMES = {
    dotted: 'St.John Rivers',
    initials: 'J.R.R.Tolkien',
    slashed: 'Meyer/Schulz GmbH',
    title: 'Dr.Smithson Jones',
    apostrophe: "D'Arcy-O'Toole",
    url: 'www.example/path_x',
    accented: 'Andre\u0301 Gide',
    sharp: 'Stra\u00dfer \u0130nce',
    dotless: '\u0130stanbul Y\u0131ld\u0131z',
    final: '\u039f\u0394\u03a5\u03a3\u03a3\u0395\u03a5\u03a3 \u03a0\u03b1\u03c0\u03c0\u03ac\u03c2',
    joined: '\u0393\u0399\u0391\u039d\u039d\u0397\u03a3.\u0391\u039d\u03a4\u03a9\u039d\u0399\u039f\u03a5',
  } as const;
  beforeAll(async () => {
    for (const [key, name] of Object.entries(NAMES)) {
      expect((await register({ name, email: `${key}@search.test` })).errors).toBeUndefined();
    }
  });

  test.each([
    ['John', 'dotted'],
    ['St.John', 'dotted'],
    ['st john riv', 'dotted'],
    ['Tolkien', 'initials'],
    ['J.R.R.Tolkien', 'initials'],
    ['J.R.R. Tolkien', 'initials'],
    ['Schulz', 'slashed'],
    ['Meyer/Schulz', 'slashed'],
    ['Meyer-Schulz GmbH', 'slashed'],
    ['Smithson', 'title'],
    ['Dr. Smithson', 'title'],
    ["D'Arcy", 'apostrophe'],
    ["o'toole", 'apostrophe'],
    ['path', 'url'],
    ['andr\u00e9', 'accented'],
    ['ANDRE\u0301', 'accented'],
    ['stra\u00dfer \u0130nce', 'sharp'],
    ['slashed@search.test', 'slashed'],
    ['istanbul', 'dotless'],
    ['\u0130STANBUL y\u0131ld\u0131z', 'dotless'],
    // ΟΔΥΣ, Οδυσ, οδυσσευς, ΠΑΠΠΆΣ: a sigma is a sigma, wherever a word ends.
    ['\u039f\u0394\u03a5\u03a3', 'final'],
    ['\u039f\u03b4\u03c5\u03c3', 'final'],
    ['\u03bf\u03b4\u03c5\u03c3\u03c3\u03b5\u03c5\u03c2', 'final'],
    ['\u03a0\u0391\u03a0\u03a0\u0386\u03a3', 'final'],
    // ΓΙΑΝΝΗΣ, αντωνίου without its accent
    ['\u0393\u0399\u0391\u039d\u039d\u0397\u03a3', 'joined'],
    ['\u03b3\u03b9\u03b1\u03bd\u03bd\u03b7\u03c2 \u03b1\u03bd\u03c4\u03c9', 'joined'],
  ] as const)('%j finds the user', async (search, key) => {
    const { data } = await graph.ask(
      'query Search($search: String) { users(search: $search) { totalCount nodes { email } } }',
      { search },
    );
    expect(data.users.nodes).toContainEqual({ email: `${key}@search.test` });
    expect(data.users.totalCount).toBe(data.users.nodes.length);
  });

  test.each(Object.entries(NAMES))('the exact name of %s finds it', async (key, name) => {
    const { data } = await graph.ask('query Search($search: String) { users(search: $search) { nodes { email } } }', {
      search: name,
    });
    expect(data.users.nodes).toEqual([{ email: `${key}@search.test` }]);
  });
});

test('a search for letters that the database does not recognize does not filter', async () => {
  // Letters of recent versions of Unicode; each is a word.
  const recent = ['\u{31350}', '\u{2ebf0}', '\u{16d40}', '\u{1e5d0}', '\u{10d4a}', '\u{105c0}', '\u{323b0}'];
  for (const search of recent) {
    if (!/\p{L}/u.test(search)) continue;
    const [row] = await graph.databases.query('users', 'select cardinality(search_words($1)) as words', [search]);
    const { data, errors } = await graph.ask(
      `query Both($search: String, $filter: ProductFilter) {
        users(search: $search) { totalCount nodes { id } } all: users { totalCount }
        products(filter: $filter) { totalCount } everything: products { totalCount }
      }`,
      { search, filter: { text: search } },
    );
    expect(errors).toBeUndefined();
    const unknown = row?.words === 0;
    expect(data.users.totalCount).toBe(unknown ? data.all.totalCount : 0);
    expect(data.users.nodes).toHaveLength(unknown ? 20 : 0);
    expect(data.products.totalCount).toBe(unknown ? data.everything.totalCount : 0);
  }
});

test('every reader is shown the same e-mail address of a deleted user', async () => {
  const { data: order } = await graph.ask('query First { user(id: "AB-10015") { orders(first: 1) { nodes { id } } } }');
  const { data } = await graph.ask('mutation Delete($id: ID!) { deleteUser(id: $id) { email } }', { id: 'AB-10015' });
  const email = 'deleted@deleted.invalid';
  expect(data.deleteUser.email).toBe(email);
  const [orderId] = order.user.orders.nodes.map(({ id }: { id: string }) => id);
  await until(
    () => graph.databases.query('orders', "select deleted from users_copy where id = 'AB-10015'"),
    ([copy]) => copy?.deleted === true,
  );
  for (const headers of [{}, { 'x-max-staleness': '0' }] as Record<string, string>[]) {
    const answer = await graph.ask(
      'query Both($id: ID!, $order: ID) { user(id: $id) { email } order(id: $order) { customer { email } } }',
      { id: 'AB-10015', order: orderId },
      headers,
    );
    expect(answer.data).toEqual({ user: { email }, order: { customer: { email } } });
  }
});

describe('me', () => {
  test('is the user that the token identifies, and null without a token', async () => {
    const token = await signToken(TOKEN_SECRET, 'CG-12520');
    const answer = await graph.ask('{ me { name } }', {}, { authorization: `Bearer ${token}` });
    expect(answer.data.me).toEqual({ name: 'Claire Gute' });
    expect((await graph.ask('{ me { name } }')).data).toEqual({ me: null });
  });

  test.each([
    ['another secret', async () => `Bearer ${await signToken('x'.repeat(32), 'CG-12520')}`],
    ['an end in the past', async () => `Bearer ${await signToken(TOKEN_SECRET, 'CG-12520', '-1 minute')}`],
    ['no bearer token', async () => 'Basic abc'],
  ])('a token with %s is UNAUTHENTICATED', async (_what, authorization) => {
    const answer = await graph.ask('{ me { name } }', {}, { authorization: await authorization() });
    expect(codesOf(answer)).toEqual(['UNAUTHENTICATED']);
  });
});

import { signToken } from '@tributary/shared/http/viewer';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startGraph, type TestGraph, TOKEN_SECRET } from '../harness/graph.ts';
import { ask, codesOf } from '../harness/graphql-client.ts';

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

test('an update changes what is given and grows the version; one that changes nothing does not', async () => {
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

describe('me', () => {
  test('is whoever the token names, and nobody without one', async () => {
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

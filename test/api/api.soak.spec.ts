import { Writable } from 'node:stream';
import Big from 'big.js';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { unsettled } from '../faults/order-accounts.ts';
import { startGraph, type TestGraph } from '../harness/graph.ts';
import { ask, type GraphQLAnswer, uncatalogued } from '../harness/graphql-client.ts';
import { openOrdersAdmin } from '../harness/orders-admin.ts';
import { Random } from '../harness/random.ts';
import { until } from '../harness/until.ts';
import { type Command, CommandWriter, Pools, writeOperation } from './random-commands.ts';
import { contradictionsIn, readWholeGraph, type WholeGraph } from './whole-graph.ts';

// Random commands over the public API, nonsense included, by several clients at once, at the gateway and at the services themselves. Then
// everything is read in full, from copies and from owners. API_COMMANDS is how many; API_SEED repeats the choices (not how they interleave).
const COMMANDS = Number(process.env.API_COMMANDS ?? 2000);
const SEED = Number(process.env.API_SEED ?? 14);
const CLIENTS = 16;

/** The error codes that the random requests may get; any other one is a fault of ours. */
const EXPECTED_CODES = new Set<string>(['BAD_USER_INPUT', 'NOT_FOUND', 'CONFLICT', 'COST_LIMIT']);

/** The commands that were sent with one idempotency key. */
interface Keyed {
  /** The one that was executed, as far as its client has seen. */
  accepted: Command | null;
  /** Those that failed beside another field: they may have been carried out. */
  readonly uncertain: Command[];
}

class Clients {
  readonly faults: string[] = [];
  readonly codes = new Map<string, number>();
  readonly deleted = new Set<string>();
  /** Users whose deletion failed beside another field: it may have been carried out. */
  readonly perhapsDeleted = new Set<string>();
  readonly registered = new Set<string>();
  readonly created = new Map<string, number>();
  /** By field, scope and key. */
  readonly keyed = new Map<string, Keyed>();
  /** Which order each key of placeOrder stands for. */
  readonly #placed = new Map<string, string>();
  readonly #graph: TestGraph;
  readonly #pools: Pools;

  constructor(graph: TestGraph, pools: Pools) {
    this.#graph = graph;
    this.#pools = pools;
  }

  async run(count: number): Promise<void> {
    let left = count;
    const client = async (nth: number) => {
      const random = new Random(SEED * 1_000_003 + nth);
      const writer = new CommandWriter(random, this.#pools);
      while (left > 0) {
        const first = writer.command();
        const more = random.next() < 0.2 ? random.below(4) : 0;
        const commands = [first];
        for (let i = 0; i < more; i++) {
          const next = first.kind === 'query' ? writer.query() : writer.command();
          if (next.kind === first.kind) commands.push(next);
        }
        left -= commands.length;
        await this.send(commands, random);
      }
    };
    await Promise.all(Array.from({ length: CLIENTS }, (_, nth) => client(nth)));
  }

  /** Sends commands as one operation, to the gateway or, now and then, to the service that owns them all. */
  async send(commands: readonly Command[], random: Random): Promise<void> {
    const [first] = commands as [Command];
    const atService =
      random.next() < 0.15 && commands.every(({ owner, field }) => owner === first.owner && field !== 'updateUser');
    const url = this.#graph.urls[atService ? first.owner : 'gateway'];
    const { query, variables } = writeOperation(commands, random);
    const headers: Record<string, string> =
      random.next() < 0.2 ? { 'x-max-staleness': random.pick(['0', '100ms']) } : {};
    let answer: GraphQLAnswer;
    try {
      answer = await ask(url, query, variables, headers);
    } catch (error) {
      this.faults.push(`no answer: ${error}: ${query} ${JSON.stringify(variables).slice(0, 500)}`);
      return;
    }
    this.#examine(answer, `${query} ${JSON.stringify(variables).slice(0, 1000)}`);
    commands.forEach((command, i) => {
      this.#learn(command, answer.data?.[`c${i}`], !answer.errors);
    });
  }

  #examine({ data, errors = [] }: GraphQLAnswer, what: string): void {
    for (const error of uncatalogued({ errors })) this.faults.push(`not in the catalogue: ${JSON.stringify(error)}`);
    for (const { message, extensions } of errors) {
      const code = String(extensions?.code);
      this.codes.set(code, (this.codes.get(code) ?? 0) + 1);
      if (!EXPECTED_CODES.has(code)) this.faults.push(`${code} (${message}) for ${what}`);
    }
    if (errors.length === 0 && !data) this.faults.push(`neither data nor errors for ${what}`);
  }

  /** Notes what the answer to a command says, and what later commands can use of it. */
  // biome-ignore lint/suspicious/noExplicitAny: every command has another answer.
  #learn({ field, args, ...command }: Command, value: any, clean: boolean): void {
    const { customers, products, orders, skus, cursors } = this.#pools;
    const cursor = value?.pageInfo?.endCursor;
    if (cursor && cursors.length < 500) cursors.push(cursor);
    if (field === 'registerUser' && value) {
      this.registered.add(value.id);
      customers.push(value.id);
    } else if (field === 'deleteUser' && !value) {
      this.perhapsDeleted.add(String(args.id?.[1]));
    } else if (field === 'deleteUser') {
      this.deleted.add(value.id);
      if (value.status !== 'DELETED') this.faults.push(`deleteUser answered ${JSON.stringify(value)}`);
    } else if (field === 'updateUser' && value?.status === 'DELETED') {
      this.deleted.add(value.id);
    } else if (field === 'createProduct' && value) {
      const input = args.input?.[1] as { onHand?: number };
      this.created.set(value.id, input.onHand ?? 0);
      products.push(value.id);
      skus.push(value.sku);
    } else if (field === 'placeOrder') {
      const input = args.input?.[1] as { customerId: unknown };
      if (!value) return;
      orders.push(value.id);
      const key = JSON.stringify([input.customerId, args.idempotencyKey?.[1]]);
      const before = this.#placed.get(key);
      if (before !== undefined && before !== value.id)
        this.faults.push(`the key ${key} stands for ${before} and ${value.id}`);
      this.#placed.set(key, value.id);
    } else if (field === 'deposit' || field === 'restock') {
      const scope = (args.userId ?? args.id)?.[1];
      const key = JSON.stringify([field, scope, args.idempotencyKey?.[1]]);
      const keyed = this.keyed.get(key) ?? { accepted: null, uncertain: [] };
      this.keyed.set(key, keyed);
      if (value) keyed.accepted ??= { field, args, ...command };
      else if (!clean) keyed.uncertain.push({ field, args, ...command });
    }
  }

  /** Sends again, alone, each command with an unknown outcome; afterwards it is either accepted or was refused. */
  async settle(random: Random): Promise<void> {
    for (const keyed of [...this.keyed.values()]) {
      for (const command of [...keyed.uncertain]) if (!keyed.accepted) await this.send([command], random);
    }
  }
}

function startWithLogs() {
  const logged: string[] = [];
  const stream = new Writable({
    write(line, _encoding, done) {
      logged.push(String(line));
      done();
    },
  });
  return { logged, logger: pino({ level: 'error' }, stream) };
}

test(`${COMMANDS} random commands by ${CLIENTS} clients (seed ${SEED})`, {
  timeout: 240_000 + COMMANDS * 60,
}, async () => {
  const { logged, logger } = startWithLogs();
  // On a busy machine an order may take longer than the gateway waits by default.
  const graph = await startGraph({ logger, gatewayEnv: { SUBGRAPH_TIMEOUT: '30s' } });
  try {
    const before = await readWholeGraph(graph.urls.gateway);
    expect(contradictionsIn(before).slice(0, 10)).toEqual([]);
    const pools = new Pools(
      before.users.slice(0, 40).map(({ id }) => id),
      before.products.slice(0, 60).map(({ id }) => id),
      before.orders.slice(0, 30).map(({ id }) => id),
    );
    const clients = new Clients(graph, pools);
    await clients.run(COMMANDS);
    await clients.settle(new Random(SEED));
    await until(
      () => unsettled(graph.databases.query),
      (left) => left === 0,
      60_000,
    );
    process.stdout.write(`  seed ${SEED}, answers by code: ${JSON.stringify(Object.fromEntries(clients.codes))}\n`);
    expect(clients.faults.slice(0, 10)).toEqual([]);
    expect(logged.slice(0, 5)).toEqual([]);

    const fromCopies = await readWholeGraph(graph.urls.gateway);
    const fromOwners = await readWholeGraph(graph.urls.gateway, { 'x-max-staleness': '0' });
    expect(differencesOf(fromCopies, fromOwners).slice(0, 5)).toEqual([]);
    expect(contradictionsIn(fromCopies).slice(0, 10)).toEqual([]);
    expectWhatClientsSaw(clients, before, fromOwners);
    await expectVerified(graph);
    expect(logged.slice(0, 5)).toEqual([]);
    const outcomes = Object.fromEntries(
      ['CONFIRMED', 'REJECTED', 'CANCELLED'].map((status) => [
        status,
        fromOwners.orders.filter((order) => order.saga && order.status === status).length,
      ]),
    );
    process.stdout.write(
      `  orders ${JSON.stringify(outcomes)}, users registered ${clients.registered.size}, deleted ${clients.deleted.size}\n`,
    );
    for (const count of Object.values(outcomes)) expect(count).toBeGreaterThan(0);
  } finally {
    await graph.stop();
  }
});

/** What `tributary verify` finds: nothing. */
async function expectVerified({ databases, urls }: TestGraph): Promise<void> {
  const operations = openOrdersAdmin(databases.urls.orders, {
    USERS_URL: urls.users,
    PRODUCTS_URL: urls.products,
  });
  try {
    expect((await operations.verify(false)).map(({ differences }) => differences)).toEqual([[], []]);
    expect(await operations.audit()).toEqual([]);
  } finally {
    await operations.close();
  }
}

/** Nodes that are not the same in both. */
function differencesOf(one: WholeGraph, other: WholeGraph): string[] {
  return (['users', 'products', 'orders'] as const).flatMap((list) => {
    const others = new Map(other[list].map((node) => [node.id, JSON.stringify(node)]));
    const differing = one[list].filter((node) => others.get(node.id) !== JSON.stringify(node));
    const count = one[list].length === others.size ? [] : [`${list}: ${one[list].length} and ${others.size}`];
    return [...count, ...differing.map((node) => `${JSON.stringify(node)} is otherwise ${others.get(node.id)}`)];
  });
}

/** Every change that a client got a response for has happened exactly once. */
function expectWhatClientsSaw(clients: Clients, before: WholeGraph, after: WholeGraph): void {
  const listed = new Set(after.users.map(({ id }) => id));
  const gone = [...clients.registered].filter(
    (id) => !listed.has(id) && !clients.deleted.has(id) && !clients.perhapsDeleted.has(id),
  );
  expect(gone, 'registered users that are in no list').toEqual([]);
  expect(
    [...clients.deleted].filter((id) => listed.has(id)),
    'deleted users in the list',
  ).toEqual([]);
  expect([...clients.created.keys()].filter((id) => !after.products.some((product) => product.id === id))).toEqual([]);

  const deposited = totals(clients, 'deposit', 'userId', 'amount');
  const wrongAccounts = after.users.flatMap(({ id, account }) => {
    const earlier = before.users.find((user) => user.id === id);
    const deposits = (nodes: typeof account.entries.nodes) =>
      nodes
        .filter(({ reason }) => reason === 'deposit')
        .reduce((all, { amount }) => all.plus(amount.amount), new Big(0));
    const added = deposits(account.entries.nodes).minus(earlier ? deposits(earlier.account.entries.nodes) : 0);
    return added.eq(deposited.get(id) ?? 0)
      ? []
      : [`${id}: ${added} was added, and ${deposited.get(id) ?? 0} was deposited`];
  });
  expect(wrongAccounts.slice(0, 5)).toEqual([]);

  const restocked = totals(clients, 'restock', 'id', 'quantity');
  const soldSince = new Map<string, number>();
  for (const { saga, status, items } of after.orders) {
    if (!saga || status !== 'CONFIRMED') continue;
    for (const { product, quantity } of items) soldSince.set(product.id, (soldSince.get(product.id) ?? 0) + quantity);
  }
  const wrongStock = after.products.flatMap(({ id, stock }) => {
    const initial = before.products.find((product) => product.id === id)?.stock.onHand ?? clients.created.get(id);
    // Created beside a field that was refused: its client got no id.
    if (initial === undefined) return [];
    const due = Number(restocked.get(id) ?? 0) + initial - (soldSince.get(id) ?? 0);
    return stock.onHand === due ? [] : [`${id}: ${stock.onHand} on hand, and ${due} are left of what came in`];
  });
  expect(wrongStock.slice(0, 5)).toEqual([]);
}

/** What accepted commands with different keys add up to, by id. */
function totals(clients: Clients, field: string, idArgument: string, amountArgument: string): Map<string, Big> {
  const sums = new Map<string, Big>();
  for (const { accepted } of clients.keyed.values()) {
    if (accepted?.field !== field) continue;
    const id = String(accepted.args[idArgument]?.[1]);
    const amount = String(accepted.args[amountArgument]?.[1]).replace(/[\s+]/g, '');
    sums.set(id, (sums.get(id) ?? new Big(0)).plus(amount));
  }
  return sums;
}

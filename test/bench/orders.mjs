// How many orders are placed per second through the gateway, and how long each takes until it is settled, as clients grow.
// Starts a stack of its own, on the built code.
import { randomUUID } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import { readCommandLine, readNumber, refuse } from '../command-line.mjs';
import { startProcesses, startWhole } from './stacks.mjs';

const { values, positionals } = readCommandLine({
  options: {
    processes: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
  allowPositionals: true,
});
if (values.help) {
  say(`npm run bench:orders -- [--processes] [seconds] [clients,clients,…]

  seconds      how long each number of clients places orders (10)
  clients,…    numbers of clients, one step each (1,5,10,25,50,100)
  --processes  a process per service, and events over NATS (nats-server must be installed); else all in one, as npm start runs it`);
  process.exit(0);
}
const { processes } = values;
if (positionals.length > 2) refuse('expected at most these arguments: seconds, clients');
const seconds = readNumber('seconds', positionals[0] ?? '10');
const steps = (positionals[1] ?? '1,5,10,25,50,100')
  .split(',')
  .map((step) => readNumber('clients', step, { whole: true }));
const PRODUCTS = 200;
const CUSTOMERS = 200;

const PLACE = `mutation ($input: PlaceOrderInput!, $key: ID!) {
  placeOrder(input: $input, idempotencyKey: $key) { id status }
}`;

const stack = processes ? await startProcesses() : await startWhole();
try {
  const products = await each(PRODUCTS, async (n) => {
    const input = {
      sku: `bench-${randomUUID()}`,
      name: `Bench ${n}`,
      category: 'Bench',
      subCategory: 'Bench',
      price: '1.00',
      onHand: 1_000_000,
    };
    return (await ask('mutation ($input: CreateProductInput!) { createProduct(input: $input) { id } }', { input }))
      .createProduct.id;
  });
  const customers = await each(CUSTOMERS, async (n) => {
    const input = { name: `Bench ${n}`, email: `${randomUUID()}@bench.test` };
    const { registerUser } = await ask('mutation ($input: RegisterUserInput!) { registerUser(input: $input) { id } }', {
      input,
    });
    await ask(
      'mutation ($id: ID!, $key: ID!) { deposit(userId: $id, amount: "1000000", idempotencyKey: $key) { balance { amount } } }',
      { id: registerUser.id, key: randomUUID() },
    );
    return registerUser.id;
  });
  say(`${processes ? 'a process per service, NATS' : 'one process'}; ${seconds} s per step; two lines per order`);
  say('clients  orders/s   p50 ms   p99 ms  longest  not settled in 4 s');
  await measure(10, 3, customers, products);
  for (const clients of steps) {
    const { rate, at, pending } = await measure(clients, seconds, customers, products);
    const cells = [rate.toFixed(0), at(0.5), at(0.99), at(1), String(pending)];
    say([String(clients).padStart(7), ...cells.map((cell) => cell.padStart(8))].join(' '));
  }
} finally {
  await stack.stop();
}
process.exit(0);

async function measure(clients, forSeconds, customers, products) {
  const until = performance.now() + forSeconds * 1000;
  const took = [];
  let pending = 0;
  await each(clients, async () => {
    while (performance.now() < until) {
      const startedAt = performance.now();
      const items = [pick(products), pick(products)].map((productId) => ({ productId, quantity: 1 }));
      const input = { customerId: pick(customers), items, waitMs: 4000 };
      const { placeOrder } = await ask(PLACE, { input, key: randomUUID() });
      if (placeOrder.status === 'PENDING') pending += 1;
      else if (placeOrder.status !== 'CONFIRMED') throw new Error(`An order was ${placeOrder.status}.`);
      took.push(performance.now() - startedAt);
    }
  });
  took.sort((a, b) => a - b);
  const at = (share) => took[Math.min(took.length - 1, Math.floor(took.length * share))].toFixed(1);
  return { rate: took.length / forSeconds, at, pending };
}

async function ask(query, variables) {
  const response = await fetch(`${stack.url}/graphql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ query, variables }),
  });
  const { data, errors } = await response.json();
  if (errors) throw new Error(JSON.stringify(errors));
  return data;
}

function each(count, run) {
  return Promise.all(Array.from({ length: count }, (_, n) => run(n)));
}

function pick(items) {
  return items[Math.floor(Math.random() * items.length)];
}

function say(line) {
  process.stdout.write(`${line}\n`);
}

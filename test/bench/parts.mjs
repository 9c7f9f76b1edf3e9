// npm run bench:parts: how much processor time each part spends on a request, by kind of request. Linux, with nats-server.
import { readdirSync, readFileSync } from 'node:fs';
import { readCommandLine, readNumber, refuse } from '../command-line.mjs';
import { askOf } from './ask.mjs';
import { startProcesses } from './stacks.mjs';

const say = (line) => process.stdout.write(`${line}\n`);
const { values: options } = readCommandLine({
  options: { requests: { type: 'string', default: '1000' }, help: { type: 'boolean', short: 'h', default: false } },
});
if (options.help) {
  say(`npm run bench:parts -- [--requests 1000]

  --requests N  of each kind, after a tenth of that to warm up

Reads processor times from /proc, so it needs Linux.`);
  process.exit(0);
}
if (process.platform !== 'linux') refuse('bench:parts: expected Linux, as processor times are read from /proc');
const requests = readNumber('--requests', options.requests, { whole: true });
const CLIENTS = 4;
/** Jiffies are hundredths of a second. */
const JIFFY_MS = 10;
/** Recognizes a process by its command line; the first match counts. */
const PARTS = [
  ['gateway', /gateway\/dist\/main\.js/],
  ['users', /users\/dist\/main\.js/],
  ['products', /products\/dist\/main\.js/],
  ['orders', /orders\/dist\/main\.js/],
  ['PostgreSQL', /^postgres: (users|products|orders) /],
  ['NATS', /nats-server -a 127\.0\.0\.1 .*tributary-bench/],
];

const ORDER = `query Order($number: String!) { order(number: $number) { status total { amount } customer { name email segment }
  items { quantity product { name category price { amount } } } } }`;
const PRODUCT =
  'query Page($id: ID!) { product(id: $id) { name price { amount } stock { available } sales { unitsSold } } }';
const LIST = `query List($after: String) { orders(first: 25, after: $after) { nodes { number status customer { name email segment }
  items { quantity product { name category } } } } }`;
const CHANGE = 'mutation Change($id: ID!, $price: Decimal!) { changePrice(id: $id, price: $price) { id } }';
const PLACE =
  'mutation Place($input: PlaceOrderInput!, $key: ID!) { placeOrder(input: $input, idempotencyKey: $key) { status } }';
const any = (list) => list[Math.floor(Math.random() * list.length)];
const key = () => Math.random().toString(36).slice(2);

const stack = await startProcesses();
const askAt = askOf(32);
const ask = (operation, headers) => askAt(stack.url, operation, headers);
try {
  const found = await ask({
    query: `{ products(first: 100, sort: BEST_SELLING) { nodes { id } } users(first: 100) { nodes { id } }
      orders(first: 100) { nodes { number } edges { cursor } } }`,
  });
  const { products, users, orders } = found.data;
  const product = () => any(products.nodes).id;
  const owner = { 'x-max-staleness': '0' };
  const kinds = {
    'product page, from the cache': () => [{ query: PRODUCT, variables: { id: product() } }],
    'product page, not cached': () => [{ query: PRODUCT, variables: { id: product() } }, owner],
    'order page, from the cache': () => [{ query: ORDER, variables: { number: any(orders.nodes).number } }],
    'order page, not cached': () => [{ query: ORDER, variables: { number: any(orders.nodes).number } }, owner],
    '25 orders, not cached': () => [{ query: LIST, variables: { after: any(orders.edges).cursor } }, owner],
    'change of a price': () => [
      { query: CHANGE, variables: { id: product(), price: `${(Math.random() * 90 + 10).toFixed(2)}` } },
    ],
  };
  for (const { id } of products.nodes) {
    await ask({
      query: `mutation { restock(id: "${id}", quantity: 100000, idempotencyKey: "${key()}") { id } }`,
    });
  }
  for (const { id } of users.nodes) {
    await ask({
      query: `mutation { deposit(userId: "${id}", amount: "500000.00", idempotencyKey: "${key()}") { balance { amount } } }`,
    });
  }
  const order = () => ({
    query: PLACE,
    variables: {
      key: key(),
      input: { customerId: any(users.nodes).id, items: [{ productId: product(), quantity: 1 }] },
    },
  });
  say(`| processor time of a request, ms | ${PARTS.map(([name]) => name).join(' | ')} | all |`);
  say(`| --- |${' --- |'.repeat(PARTS.length + 1)}`);
  for (const [name, next] of Object.entries(kinds)) await measure(name, CLIENTS, next);
  await measure('order placed, 4 clients', CLIENTS, () => [order()]);
  await measure('order placed, 32 clients', 32, () => [order()]);
} finally {
  await stack.stop();
}

async function measure(name, clients, next) {
  await run(Math.ceil(requests / 10), clients, next);
  const before = times();
  await run(requests, clients, next);
  const after = times();
  const spent = PARTS.map(([part]) => (JIFFY_MS * (after.get(part) - before.get(part))) / requests);
  say(`| ${name} | ${[...spent, spent.reduce((all, ms) => all + ms, 0)].map((ms) => ms.toFixed(2)).join(' | ')} |`);
}

async function run(count, clients, next) {
  let left = count;
  const client = async () => {
    while (left-- > 0) {
      const { errors } = await ask(...next());
      if (errors) throw new Error(JSON.stringify(errors));
    }
  };
  await Promise.all(Array.from({ length: clients }, client));
}

/** What each part has spent so far, in jiffies. */
function times() {
  const spent = new Map(PARTS.map(([name]) => [name, 0]));
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
      const part = PARTS.find(([, pattern]) => pattern.test(command))?.[0];
      if (!part) continue;
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      const [user, system] = stat
        .slice(stat.lastIndexOf(')') + 2)
        .split(' ')
        .slice(11, 13);
      spent.set(part, spent.get(part) + Number(user) + Number(system));
    } catch {
      // It ended meanwhile.
    }
  }
  return spent;
}

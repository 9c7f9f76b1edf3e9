// npm run bench:sizes: what more data costs, query by query, with keys from all over the data; no cache, no deduplication.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import { readCommandLine, readNumber } from '../command-line.mjs';
import { percentile } from '../load/client.mjs';
import { startWhole } from './stacks.mjs';

const say = (line) => process.stdout.write(`${line}\n`);
const log = (text) => process.stderr.write(text);
const { values: options } = readCommandLine({
  options: {
    scales: { type: 'string', default: '1,10' },
    runs: { type: 'string', default: '300' },
    help: { type: 'boolean', short: 'h', default: false },
  },
});
if (options.help) {
  say(`npm run bench:sizes -- [--scales 1,10] [--runs 300]

  --scales A,B  sizes of the Superstore history: 1 is 5,009 orders; 100 takes some ten minutes and 3 GB of disk
  --runs N      how often each query is asked, one after the other, after a tenth of that to warm up`);
  process.exit(0);
}
const scales = options.scales.split(',').map((scale) => readNumber('--scales', scale));
const runs = readNumber('--runs', options.runs, { whole: true });

const PAGE =
  'status placedAt total { amount } customer { name email } items { quantity product { name category price { amount } } }';
const random = (list) => list[Math.floor(Math.random() * list.length)];
const range = (n) => Array.from({ length: n }, (_, i) => i);
const dayOf = (year) => new Date(Date.UTC(year, 0, 1) + Math.random() * 365 * 86_400_000);

/** By name; each makes the next query, given the keys. */
const QUERIES = {
  'one order, composed of three services': ({ numbers }) => [
    `query Q($number: String!) { order(number: $number) { ${PAGE} } }`,
    { number: random(numbers) },
  ],
  "a customer's statistics and latest orders": ({ customers }) => [
    `query Q($id: ID!) { user(id: $id) { name orderStats { orderCount } orders(first: 10) { totalCount nodes { ${PAGE} } } } }`,
    { id: random(customers) },
  ],
  'a product with its sales and stock': ({ products }) => [
    'query Q($id: ID!) { product(id: $id) { name price { amount } stock { available } sales { unitsSold revenue { amount } } } }',
    { id: random(products) },
  ],
  'the 24 products that sell best': () => ['{ products(first: 24, sort: BEST_SELLING) { totalCount nodes { name } } }'],
  'the newest 25 orders, and how many there are': () => [
    `{ orders(first: 25) { totalCount nodes { number ${PAGE} } } }`,
  ],
  '25 orders from the middle of the list': ({ cursors }) => [
    `query Q($after: String) { orders(first: 25, after: $after) { nodes { number ${PAGE} } } }`,
    { after: random(cursors) },
  ],
  'how many orders are confirmed': () => ['{ orders(first: 1, filter: { status: CONFIRMED }) { totalCount } }'],
  'how many orders came in 30 days': () => {
    const from = dayOf(2016);
    const filter = { placedAfter: from, placedBefore: new Date(from.getTime() + 30 * 86_400_000) };
    return ['query Q($filter: OrderFilter) { orders(first: 1, filter: $filter) { totalCount } }', { filter }];
  },
  'a search for users': ({ names }) => [
    'query Q($search: String) { users(first: 20, search: $search) { nodes { name } } }',
    { search: random(names) },
  ],
  'a search for users, and how many match': ({ names }) => [
    'query Q($search: String) { users(first: 20, search: $search) { totalCount nodes { name } } }',
    { search: random(names) },
  ],
};

const columns = [];
for (const scale of scales) columns.push(await measure(scale));
report();

async function measure(scale) {
  log(`scale ${scale}: importing… `);
  const began = performance.now();
  const stack = await startWhole({
    scale,
    env: { CACHE: 'off', CLIENT_QUERY_SHARING: 'off', SUBGRAPH_FETCH_SHARING: 'off' },
  });
  const measured = { 'until everything answers, s': Math.round((performance.now() - began) / 1000) };
  try {
    const keys = await sampleKeys(stack.url);
    log('asking… ');
    for (const [name, next] of Object.entries(QUERIES))
      measured[name] = await timesOf(() => ask(stack.url, ...next(keys)));
    measured['memory of the process at its most, MB'] = peakMemoryMB(stack.pid);
    measured['data on disk, MB'] = diskMB(stack.folder);
    log('done\n');
    return measured;
  } finally {
    await stack.stop();
  }
}

/** Keys from all over the history: orders around random moments, and who placed them. */
async function sampleKeys(url) {
  const query = `query Sample($before: DateTime) { orders(first: 10, filter: { placedBefore: $before }) {
    edges { cursor node { number customer { id name } items { product { id } } } } } }`;
  const pages = await Promise.all(range(60).map((i) => ask(url, query, { before: dayOf(2014 + (i % 4)) })));
  const edges = pages.flatMap(({ orders }) => orders.edges);
  const nodes = edges.map(({ node }) => node);
  return {
    cursors: edges.map(({ cursor }) => cursor),
    numbers: nodes.map(({ number }) => number),
    customers: nodes.map(({ customer }) => customer.id),
    names: nodes.map(({ customer }) => customer.name.split(' ').at(-1)),
    products: nodes.flatMap(({ items }) => items.map(({ product }) => product.id)),
  };
}

async function timesOf(run) {
  for (let i = 0; i < runs / 10; i++) await run();
  const times = [];
  for (let i = 0; i < runs; i++) {
    const began = performance.now();
    await run();
    times.push(performance.now() - began);
  }
  return { p50: percentile(times, 0.5), p99: percentile(times, 0.99) };
}

async function ask(url, query, variables) {
  const response = await fetch(`${url}/graphql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ query, variables }),
    signal: AbortSignal.timeout(30_000),
  });
  const { data, errors } = await response.json();
  if (errors) throw new Error(`${query}\n${JSON.stringify(errors)}`);
  return data;
}

/** NaN where the system does not say. */
function peakMemoryMB(pid) {
  try {
    return Math.round(Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) / 1024);
  } catch {
    return Number.NaN;
  }
}

function diskMB(folder) {
  return Number.parseInt(spawnSync('du', ['-sm', folder], { encoding: 'utf8' }).stdout ?? '', 10);
}

function report() {
  say(`\np50 / p99 in ms, of ${runs} one after the other:\n`);
  say(`| | ${scales.map((scale) => `${Math.round(5009 * scale).toLocaleString('en')} orders`).join(' | ')} |`);
  say(`| --- |${' --- |'.repeat(scales.length)}`);
  for (const name of Object.keys(columns[0])) {
    const cells = columns.map(({ [name]: value }) =>
      typeof value === 'number' ? value : `${value.p50.toFixed(1)} / ${value.p99.toFixed(1)}`,
    );
    say(`| ${name} | ${cells.join(' | ')} |`);
  }
}

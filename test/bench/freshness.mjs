// npm run bench:freshness: how soon after a commit no gateway serves the old value, and what the cache gains on a mix of reads
// and writes of the Superstore, beside other gateways over the same services.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { freePort } from '@tributary/cli';
import { readCommandLine, readNumber, readWord } from '../command-line.mjs';
import { askOf } from './ask.mjs';
import { CONTENDERS, installPeers, startNode } from './gateways/peers.mjs';
import { answering, compose, schemasOf } from './gateways/workload.mjs';
import { startProcesses } from './stacks.mjs';

const GATEWAY = fileURLToPath(new URL('../../gateway/dist/main.js', import.meta.url));
const CLIENTS = 24;
const CHANGES = 300;

const say = (line) => process.stdout.write(`${line}\n`);
const { values: options } = readCommandLine({
  options: {
    seconds: { type: 'string', default: '10' },
    writes: { type: 'string', default: '5' },
    peers: { type: 'string', default: 'on' },
    help: { type: 'boolean', short: 'h', default: false },
  },
});
if (options.help) {
  say(`npm run bench:freshness -- [--seconds 10] [--writes 5] [--peers off]

  --seconds N   how long each gateway is measured, after a warm-up of half of that
  --writes P    how many of a hundred requests change a price
  --peers off   leave other gateways out (they come from npm the first time)

Needs nats-server.`);
  process.exit(0);
}
const seconds = readNumber('--seconds', options.seconds);
const writes = options.writes === '0' ? 0 : readNumber('--writes', options.writes, { max: 99 }) / 100;
const hasPeers = readWord('--peers', options.peers, ['on', 'off']) === 'on';
if (hasPeers) installPeers();

const ask = askOf(CLIENTS);
const folder = mkdtempSync(join(tmpdir(), 'tributary-freshness-'));
const stack = await startProcesses();
try {
  const shop = await readShop();
  await measureDelay(shop.products[0]);
  await compareOnMix(shop);
} finally {
  await stack.stop();
  rmSync(folder, { recursive: true, force: true });
}

/** The keys that the mix uses: the first ones most often. */
async function readShop() {
  const list = await ask(stack.url, {
    query: '{ products(first: 100) { nodes { id } } orders(first: 100) { nodes { number } } }',
  });
  return {
    products: list.data.products.nodes.map(({ id }) => id),
    orders: list.data.orders.nodes.map(({ number }) => number),
  };
}

/** From the answer to a change (it is committed by then) until both of two gateways serve the new value. */
async function measureDelay(id) {
  const both = [await start(ours({})), await start(ours({}))];
  try {
    const query = 'query Price($id: ID!) { product(id: $id) { price { amount } } }';
    const change = 'mutation Change($id: ID!, $price: Decimal!) { changePrice(id: $id, price: $price) { id } }';
    const delays = [];
    for (let i = 0; i < CHANGES; i++) {
      const price = `${100 + i}.00`;
      await Promise.all(both.map(({ url }) => ask(url, { query, variables: { id } })));
      await ask(both[i % 2].url, { query: change, variables: { id, price } });
      const committed = performance.now();
      await Promise.all(
        both.map(async ({ url }) => {
          while ((await ask(url, { query, variables: { id } })).data.product.price.amount !== price);
        }),
      );
      delays.push(performance.now() - committed);
    }
    const [p50, p99] = percentiles(delays);
    say(
      `From the answer to a change until neither of two gateways serves the old value: p50 ${p50} ms, p99 ${p99} ms (${CHANGES} changes)`,
    );
  } finally {
    for (const gateway of both) gateway.stop();
  }
}

async function compareOnMix(shop) {
  const supergraph = join(folder, 'supergraph.graphql');
  writeFileSync(
    supergraph,
    compose(await schemasOf(stack.subgraphs), (name) => stack.subgraphs[name]),
  );
  const isPeer = ([name]) => !name.startsWith('Tributary') && !name.endsWith(', deduplication');
  const peers = hasPeers ? Object.entries(CONTENDERS).filter(isPeer) : [];
  const contenders = [
    ...peers.map(([name, { command, env }]) => [name, { command, env: { ...env, SUPERGRAPH_PATH: supergraph } }]),
    ['Tributary, no cache, no deduplication', ours({ CACHE: 'off', SUBGRAPH_FETCH_DEDUPLICATION: 'off' })],
    ['Tributary, no cache', ours({ CACHE: 'off' })],
    ['Tributary', ours({})],
  ];
  say(`\n${CLIENTS} clients, ${100 - writes * 100} % reads, ${seconds} s each, everything on this machine:\n`);
  say('| gateway | requests/s | p50 ms | p99 ms | fetches a request | SQL statements a request | hits |');
  say('| --- | --- | --- | --- | --- | --- | --- |');
  for (const [name, contender] of contenders) {
    const gateway = await start(contender);
    try {
      await load(gateway.url, shop, seconds / 2);
      await sleep(500);
      say(`| ${name} | ${(await measureMix(gateway.url, shop)).join(' | ')} |`);
    } finally {
      gateway.stop();
    }
  }
}

async function measureMix(url, shop) {
  const before = await readCounters(url);
  const times = await load(url, shop, seconds);
  const after = await readCounters(url);
  const per = (counter) => ((after[counter] - before[counter]) / times.length).toFixed(2);
  const [hits, misses] = ['hits', 'misses'].map((counter) => after[counter] - before[counter]);
  const share = hits + misses > 0 ? `${Math.round((100 * hits) / (hits + misses))} %` : '';
  return [Math.round(times.length / seconds), ...percentiles(times), per('fetches'), per('statements'), share];
}

/** @returns how long each request took, in milliseconds */
async function load(url, shop, forSeconds) {
  const until = performance.now() + forSeconds * 1000;
  const times = [];
  const client = async () => {
    while (performance.now() < until) {
      const started = performance.now();
      const { errors } = await ask(url, operation(shop));
      if (errors) throw new Error(JSON.stringify(errors));
      times.push(performance.now() - started);
    }
  };
  await Promise.all(Array.from({ length: CLIENTS }, client));
  return times;
}

/** Operations as a frontend sends them: a few texts, with variables. */
function operation({ products, orders }) {
  const id = pick(products);
  const choice = Math.random();
  if (choice < writes) {
    return {
      query: 'mutation Change($id: ID!, $price: Decimal!) { changePrice(id: $id, price: $price) { id } }',
      variables: { id, price: (50 + Math.random() * 50).toFixed(2) },
    };
  }
  if (choice < 0.6) {
    return {
      query:
        'query Page($id: ID!) { product(id: $id) { name price { amount } stock { available } sales { unitsSold } } }',
      variables: { id },
    };
  }
  return {
    query: `query Order($number: String!) { order(number: $number) { status total { amount } customer { name email segment }
      items { quantity product { name category price { amount } } } } }`,
    variables: { number: pick(orders) },
  };
}

/** The n-th is taken about 1/n as often as the first. */
function pick(list) {
  return list[Math.min(list.length - 1, Math.floor(list.length ** Math.random()) - 1)];
}

/** A gateway of ours over the services of the stack. */
function ours(env) {
  const subgraphs = Object.entries(stack.subgraphs).map(([name, url]) => `${name}=${url}`);
  return {
    command: [GATEWAY],
    env: { SUBGRAPHS: subgraphs.join(), NATS_URL: stack.natsUrl, CLIENT_QUERY_SHARING: 'off', ...env },
  };
}

async function start({ command, env }) {
  const port = await freePort();
  const gateway = startNode(null, command, { ...env, PORT: String(port) });
  const url = `http://127.0.0.1:${port}`;
  const body = JSON.stringify({ query: '{ __typename }' });
  await answering(`${url}/graphql`, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
  return { url, stop: gateway.stop };
}

/** Reads the counters: hits from the gateway, if it has them, and the rest from the services. */
async function readCounters(url) {
  const text = async (address) => (await fetch(address)).text();
  const metrics = await text(`${url}/metrics`).catch(() => '');
  const services = await Promise.all(
    Object.values(stack.subgraphs).map((address) => text(address.replace('/graphql', '/metrics'))),
  );
  const all = services.join('\n');
  return {
    hits: sum(metrics, /^gateway_cache_reads_total\{.*outcome="hit".*\} (\S+)$/gm),
    misses: sum(metrics, /^gateway_cache_reads_total\{.*outcome="miss".*\} (\S+)$/gm),
    fetches: sum(all, /^http_request_duration_seconds_count\{.*route="\/graphql".*\} (\S+)$/gm),
    statements: sum(all, /^sql_statements_total\{.*\} (\S+)$/gm),
  };
}

function sum(text, pattern) {
  return [...text.matchAll(pattern)].reduce((total, [, value]) => total + Number(value), 0);
}

function percentiles(numbers) {
  const sorted = numbers.toSorted((a, b) => a - b);
  return [0.5, 0.99].map((share) => sorted[Math.floor(sorted.length * share)].toFixed(1));
}

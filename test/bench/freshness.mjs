// npm run bench:freshness [-- seconds]: how soon after a commit no gateway serves the old value, and what the cache gains on a mix of reads and
// writes of the Superstore (nine in ten clients read a few products and orders; Zipf-like: some far more often than others).

import { spawn } from 'node:child_process';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { freePort } from '@tributary/cli/free-port';
import { startProcesses } from './stacks.mjs';

const PROJECT = fileURLToPath(new URL('../../', import.meta.url));
const seconds = Number(process.argv[2] ?? 10);
const CLIENTS = 24;
const CHANGES = 300;
const WRITES = 0.05;

const say = (line) => process.stdout.write(`${line}\n`);
const stack = await startProcesses();
const gateways = [];
try {
  const cached = [await startGateway({}), await startGateway({})];
  const plain = await startGateway({ CACHE: 'off' });
  const products = (await ask(plain, '{ products(first: 100) { nodes { id } } }')).data.products.nodes.map(
    ({ id }) => id,
  );
  const orders = (await ask(plain, '{ orders(first: 100) { nodes { number } } }')).data.orders.nodes.map(
    ({ number }) => number,
  );
  await sleep(1000);
  await measureDelay(cached, products[0]);
  say(`\n${CLIENTS} clients, ${100 * (1 - WRITES)} % reads, ${seconds} s each, everything on this machine:\n`);
  say('| gateway | requests/s | p50 ms | p99 ms | fetches a request | SQL statements a request | hits |');
  say('| --- | --- | --- | --- | --- | --- | --- |');
  await measureMix('without cache', plain, products, orders);
  await measureMix('with cache', cached[0], products, orders);
} finally {
  for (const { child } of gateways) child.kill();
  await stack.stop();
}

/** A gateway more, over the same services. */
async function startGateway(env) {
  const port = await freePort();
  const subgraphs = Object.entries(stack.subgraphs).map(([name, url]) => `${name}=${url}`);
  const child = spawn(process.execPath, [`${PROJECT}gateway/dist/main.js`], {
    env: {
      PATH: process.env.PATH,
      NODE_ENV: 'production',
      LOG_LEVEL: 'error',
      SUBGRAPHS: subgraphs.join(),
      NATS_URL: stack.natsUrl,
      GATEWAY_PORT: String(port),
      CLIENT_QUERY_SHARING: 'off',
      ...env,
    },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const gateway = { url: `http://localhost:${port}`, child };
  gateways.push(gateway);
  for (;;) {
    const ready = await fetch(`${gateway.url}/health/ready`).then(
      ({ ok }) => ok,
      () => false,
    );
    if (ready) return gateway;
    await sleep(100);
  }
}

async function ask({ url }, query, headers = {}) {
  const response = await fetch(`${url}/graphql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ query }),
  });
  return response.json();
}

/** From the answer to a change (it is committed by then) until both gateways serve the new value. */
async function measureDelay(both, id) {
  const query = `{ product(id: "${id}") { price { amount } } }`;
  const delays = [];
  for (let i = 0; i < CHANGES; i++) {
    const amount = `${100 + i}.00`;
    await Promise.all(both.map((gateway) => ask(gateway, query)));
    await ask(both[i % 2], `mutation { changePrice(id: "${id}", price: "${amount}") { id } }`);
    const committed = performance.now();
    await Promise.all(
      both.map(async (gateway) => {
        while ((await ask(gateway, query)).data.product.price.amount !== amount);
      }),
    );
    delays.push(performance.now() - committed);
  }
  delays.sort((a, b) => a - b);
  const at = (share) => delays[Math.floor(delays.length * share)].toFixed(1);
  say(
    `From the answer to a change until neither of two gateways serves the old value: p50 ${at(0.5)} ms, p99 ${at(0.99)} ms (${CHANGES} changes)`,
  );
}

async function measureMix(name, gateway, products, orders) {
  const before = await figures(gateway);
  const until = performance.now() + seconds * 1000;
  const times = [];
  const client = async () => {
    while (performance.now() < until) {
      const started = performance.now();
      const { errors } = await ask(gateway, operation(products, orders));
      if (errors) throw new Error(JSON.stringify(errors));
      times.push(performance.now() - started);
    }
  };
  await Promise.all(Array.from({ length: CLIENTS }, client));
  const after = await figures(gateway);
  times.sort((a, b) => a - b);
  const at = (share) => times[Math.floor(times.length * share)].toFixed(1);
  const per = (figure) => ((after[figure] - before[figure]) / times.length).toFixed(2);
  const [hits, misses] = ['hits', 'misses'].map((figure) => after[figure] - before[figure]);
  const share = hits + misses === 0 ? '' : `${Math.round((100 * hits) / (hits + misses))} %`;
  say(
    `| ${name} | ${Math.round(times.length / seconds)} | ${at(0.5)} | ${at(0.99)} | ${per('fetches')} | ${per('statements')} | ${share} |`,
  );
}

function operation(products, orders) {
  const product = pick(products);
  const choice = Math.random();
  if (choice < WRITES)
    return `mutation { changePrice(id: "${product}", price: "${(50 + Math.random() * 50).toFixed(2)}") { id } }`;
  if (choice < 0.6)
    return `{ product(id: "${product}") { name price { amount } stock { available } sales { unitsSold } } }`;
  return `{ order(number: "${pick(orders)}") { status total { amount } customer { name email segment } items { quantity product { name category price { amount } } } } }`;
}

/** The n-th is taken about 1/n as often as the first. */
function pick(list) {
  return list[Math.min(list.length - 1, Math.floor(list.length ** Math.random()) - 1)];
}

/** What was counted so far: by the gateway, and by the services. */
async function figures(gateway) {
  const metrics = await (await fetch(`${gateway.url}/metrics`)).text();
  const services = Object.values(stack.subgraphs).map((url) => url.replace('/graphql', '/metrics'));
  const texts = await Promise.all(services.map(async (url) => (await fetch(url)).text()));
  return {
    fetches: sum(metrics, /^gateway_subgraph_fetch_duration_seconds_count\{.*\} (\S+)$/gm),
    hits: sum(metrics, /^gateway_cache_reads_total\{.*outcome="hit".*\} (\S+)$/gm),
    misses: sum(metrics, /^gateway_cache_reads_total\{.*outcome="miss".*\} (\S+)$/gm),
    statements: texts.reduce((all, text) => all + sum(text, /^sql_statements_total\{.*\} (\S+)$/gm), 0),
  };
}

function sum(text, pattern) {
  return [...text.matchAll(pattern)].reduce((total, [, value]) => total + Number(value), 0);
}

// npm run bench:new-operations: what operations that no gateway has seen cost their clients, and the clients of other operations; and what a new
// supergraph costs. With --base another built tree takes turns with this one.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { freePort } from '@tributary/cli';
import { readCommandLine, readNumber, refuse } from '../../command-line.mjs';
import { askOf } from '../ask.mjs';
import { startNode } from './peers.mjs';
import { typeDefs } from './shop.mjs';
import { answering, compose } from './workload.mjs';

const { values: options } = readCommandLine({
  options: {
    clients: { type: 'string', default: '400' },
    operations: { type: 'string', default: '300' },
    rounds: { type: 'string', default: '3' },
    base: { type: 'string' },
    help: { type: 'boolean', short: 'h', default: false },
  },
});
/** Operations that differ. */
const ALL = 4096;
const say = (line) => process.stdout.write(`${line}\n`);
if (options.help) {
  say(`npm run bench:new-operations -- [--clients 400] [--operations 300] [--rounds 3] [--base PATH]

  --clients N     clients that each send a new operation over four subgraphs, all at once
  --operations N  operations in use while the supergraph changes
  --rounds N      how often each tree is measured, in turns; the medians are compared
  --base PATH     another built tree, to compare this one with`);
  process.exit(0);
}
const clients = readNumber('--clients', options.clients, { whole: true });
const operations = readNumber('--operations', options.operations, { whole: true });
const rounds = readNumber('--rounds', options.rounds, { whole: true });
if (operations + rounds * clients > ALL)
  refuse(`there are ${ALL} different operations; fewer clients, operations or rounds need to suffice`);
const trees = [...(options.base ? [resolve(options.base)] : []), fileURLToPath(new URL('../../../', import.meta.url))];

/** Requests with operations in use, per second. */
const RATE = 200;
const ask = askOf(clients + 50);
const folder = mkdtempSync(join(tmpdir(), 'tributary-operations-'));
const replayPort = await freePort();
const replay = startNode(null, [fileURLToPath(new URL('./replay.mjs', import.meta.url))], {
  PORT: String(replayPort),
  TARGETS: 'shop',
});
const results = new Map(trees.map((tree) => [tree, []]));
try {
  await answering(`http://127.0.0.1:${replayPort}/`);
  for (let round = 1; round <= rounds; round++) {
    for (const tree of trees) {
      process.stderr.write(`round ${round}, ${tree}… `);
      results.get(tree).push(await measure(tree, round));
      process.stderr.write('done\n');
    }
  }
} finally {
  replay.stop();
  rmSync(folder, { recursive: true, force: true });
}
report();

/**
 * The nth operation over all subgraphs: each selects other fields, so each has its own plan. The subgraphs' operations repeat, so that these
 * cost next to nothing.
 */
function operation(n) {
  const some = (from, names) => names.filter((_, bit) => (n >> (from + bit)) & 1).join(' ');
  return `query Page { topProducts { upc ${some(0, ['name', 'price', 'weight', 'inStock', 'shippingEstimate'])}
    reviews { id ${some(5, ['body'])} author { id ${some(6, ['name', 'username', 'birthday'])} }
      product { upc ${some(9, ['name', 'price', 'inStock'])} } } } }`;
}

async function measure(tree, round) {
  const port = await freePort();
  const supergraph = join(folder, `${port}.graphql`);
  const url = `http://127.0.0.1:${port}`;
  const write = (extra) => {
    const schemas = { ...typeDefs, accounts: `${typeDefs.accounts}\n${extra}` };
    writeFileSync(
      supergraph,
      compose(schemas, (name) => `http://127.0.0.1:${replayPort}/${name}`),
    );
  };
  write('');
  const gateway = startNode(null, [join(tree, 'gateway/dist/main.js')], {
    PORT: String(port),
    SUPERGRAPH_PATH: supergraph,
    SUPERGRAPH_POLL_INTERVAL: '100ms',
  });
  try {
    await answering(`${url}/graphql`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"query":"{ __typename }"}',
    });
    const known = Array.from({ length: operations }, (_, i) => operation(i));
    for (const query of known) await request(url, query);
    const usual = await steadily(url, known, () => sleep(3000));

    const burst = { all: 0, times: [] };
    const during = await steadily(url, known, async () => {
      const started = performance.now();
      const sent = Array.from({ length: clients }, (_, i) =>
        timed(url, operation(operations + (round - 1) * clients + i)),
      );
      burst.times = await Promise.all(sent);
      burst.all = performance.now() - started;
    });
    await sleep(500);

    const change = { at: 0 };
    const swapped = await steadily(url, known, async () => {
      write(`type Added${round} { id: ID } extend type Query { added${round}: Added${round} }`);
      await until(async () => isField(await ask(url, { query: `{ added${round} { id } }` })));
      change.at = performance.now();
      await sleep(1000);
    });
    return {
      all: burst.all,
      longest: Math.max(...burst.times),
      usual: p99(usual.map(({ ms }) => ms)),
      during: p99(during.map(({ ms }) => ms)),
      swapped: p99(swapped.filter(({ at }) => at >= change.at - 1000).map(({ ms }) => ms)),
    };
  } finally {
    gateway.stop();
  }
}

/** Sends known operations at a rate, whatever the responses take, until something is over. */
async function steadily(url, known, during) {
  let isOver = false;
  const sent = [];
  const started = performance.now();
  const sending = (async () => {
    for (let i = 0; !isOver; i++) {
      const due = started + (i * 1000) / RATE;
      const early = due - performance.now();
      if (early > 0) await sleep(early);
      // A request that is sent late has waited since it was due.
      sent.push(request(url, known[i % known.length]).then(() => ({ at: due, ms: performance.now() - due })));
    }
  })();
  await during();
  isOver = true;
  await sending;
  return Promise.all(sent);
}

async function timed(url, query) {
  const started = performance.now();
  await request(url, query);
  return performance.now() - started;
}

async function request(url, query) {
  const { errors } = await ask(url, { query });
  if (errors) throw new Error(JSON.stringify(errors).slice(0, 300));
}

/** Whether the gateway's schema has the field that was asked for. The subgraph does not have it. */
function isField({ errors = [] }) {
  return !errors.some(({ extensions }) => extensions?.code === 'GRAPHQL_VALIDATION_FAILED');
}

async function until(isSo) {
  for (let left = 300; !(await isSo()); left--) {
    if (left === 0) throw new Error('The new supergraph is not served after half a minute.');
    await sleep(100);
  }
}

function p99(times) {
  return times.toSorted((a, b) => a - b)[Math.floor(times.length * 0.99)];
}

function report() {
  const median = (tree, key) => {
    const sorted = results
      .get(tree)
      .map((result) => result[key])
      .toSorted((a, b) => a - b);
    return sorted[Math.floor(sorted.length / 2)].toFixed(key === 'all' || key === 'longest' ? 0 : 1);
  };
  say(`Medians of ${rounds}; operations in use are sent ${RATE} times a second.\n`);
  say(
    `| tree | ${clients} new operations at once, until all are answered, ms | the longest, ms | operations in use, p99 before, ms | p99 meanwhile, ms | p99 in the second of a new supergraph, ms |`,
  );
  say('| --- | --- | --- | --- | --- | --- |');
  for (const tree of trees) {
    const cells = ['all', 'longest', 'usual', 'during', 'swapped'].map((key) => median(tree, key));
    say(`| ${tree} | ${cells.join(' | ')} |`);
  }
}

// npm run bench: gateways side by side, each alone on one core, load and subgraphs on another; every answer must be the same.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort } from '@tributary/cli';
import autocannon from 'autocannon';
import { readCommandLine, readNumber, readWord } from '../../command-line.mjs';
import { startProcesses } from '../stacks.mjs';
import { chart } from './chart.mjs';
import { CONTENDERS, installPeers, pinSelf, startNode } from './peers.mjs';
import { QUERIES as SHOP, typeDefs } from './shop.mjs';
import { QUERIES as SUPERSTORE } from './superstore.mjs';
import { answering, compose, schemasOf } from './workload.mjs';

const say = (text) => process.stdout.write(`${text}\n`);
const log = (text) => process.stderr.write(`${text}\n`);

const CONNECTIONS = 50;
const CHART = fileURLToPath(new URL('../../../docs/gateways.svg', import.meta.url));
const REPLAY = fileURLToPath(new URL('./replay.mjs', import.meta.url));

const { values: options } = readCommandLine({
  options: {
    seconds: { type: 'string', default: '10' },
    queries: { type: 'string', default: [...Object.keys(SHOP), ...Object.keys(SUPERSTORE)].join() },
    only: { type: 'string' },
    help: { type: 'boolean', short: 'h', default: false },
  },
});
if (options.help) {
  say(`Compares gateways: requests a second, latency, fetches from subgraphs, memory. Peers are installed from npm the first time.

  npm run bench -- [--seconds 10] [--queries ${Object.keys(SHOP)},…] [--only WORD]

  --seconds N    how long each is measured, after a warm-up of half of that
  --queries A,B  of ${[...Object.keys(SHOP), ...Object.keys(SUPERSTORE)].join(', ')}
  --only WORD    only contenders with this in their name

Writes docs/gateways.svg, unless --queries or --only leaves something out.`);
  process.exit(0);
}
const seconds = readNumber('--seconds', options.seconds);
const queryNames = [...Object.keys(SHOP), ...Object.keys(SUPERSTORE)];
const selected = options.queries.split(',').map((name) => readWord('--queries', name.trim(), queryNames));
const contenders = Object.entries(CONTENDERS).filter(([name]) => !options.only || name.includes(options.only));

process.stderr.write('Peers from npm… ');
installPeers();
log('ready.');
const folder = mkdtempSync(join(tmpdir(), 'tributary-gateways-'));
const results = [];
let pinned = false;
const hasSuperstore = selected.some((name) => name in SUPERSTORE);
const stack = hasSuperstore ? await startProcesses() : null;
pinned = pinSelf(1);
try {
  await measureWorkload('the public benchmark', SHOP, 'shop', typeDefs);
  if (stack)
    await measureWorkload(
      'the Superstore',
      SUPERSTORE,
      JSON.stringify(stack.subgraphs),
      await schemasOf(stack.subgraphs),
    );
} finally {
  await stack?.stop();
  rmSync(folder, { recursive: true, force: true });
}
report();

async function measureWorkload(title, queries, targets, schemas) {
  const names = Object.keys(queries).filter((name) => selected.includes(name));
  if (names.length === 0) return;
  const port = await freePort();
  const supergraph = join(folder, `${port}.graphql`);
  writeFileSync(
    supergraph,
    compose(schemas, (name) => `http://127.0.0.1:${port}/${name}`),
  );
  const replay = startNode(1, [REPLAY], { PORT: String(port), TARGETS: targets });
  try {
    await answering(`http://127.0.0.1:${port}/`);
    for (const query of names) {
      const expected = {};
      for (const [name, contender] of contenders) {
        process.stderr.write(`${query}: ${name}… `);
        const measured = await measure(contender, queries[query], supergraph, port, expected);
        results.push({ title, query, name, ...measured });
        log(`${measured.rps} requests/s`);
      }
    }
  } finally {
    replay.stop();
  }
}

async function measure({ command, env }, query, supergraph, replayPort, expected) {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}/graphql`;
  const gateway = startNode(0, command, { ...env, PORT: String(port), SUPERGRAPH_PATH: supergraph });
  const request = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ query }) };
  const fetches = async () => (await (await fetch(`http://127.0.0.1:${replayPort}/`)).json()).count;
  try {
    const answer = await (await answering(url, request)).json();
    if (answer.errors) throw new Error(JSON.stringify(answer.errors).slice(0, 500));
    const text = JSON.stringify(sorted(answer.data));
    expected.text ??= text;
    if (text !== expected.text) throw new Error('It answers something else than the first did.');
    const before = await fetches();
    await (await fetch(url, request)).text();
    const alone = (await fetches()) - before;
    const load = (duration) => autocannon({ url, ...request, connections: CONNECTIONS, duration });
    await load(Math.ceil(seconds / 2));
    const { requests, latency, errors, non2xx } = await load(seconds);
    if (errors + non2xx > 0) throw new Error(`${errors + non2xx} requests failed.`);
    return {
      rps: Math.round(requests.average),
      p50: latency.p50,
      p99: latency.p99,
      fetches: alone,
      bytes: text.length,
      rssMB: memoryOf(gateway.pid),
    };
  } finally {
    gateway.stop();
  }
}

function sorted(value) {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.keys(value)
      .sort()
      .map((key) => [key, sorted(value[key])]),
  );
}

/** Megabytes; NaN where the system does not say. */
function memoryOf(pid) {
  try {
    return Math.round(Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) / 1024);
  } catch {
    return Number.NaN;
  }
}

function report() {
  const groups = [];
  for (const query of selected) {
    const rows = results.filter((row) => row.query === query);
    const [first] = rows;
    const title = `${query} (${first.title}; ${Math.round(first.bytes / 1024)} kB)`;
    say(`\n### ${title}\n`);
    say(`| gateway | requests/s | against ${first.name} | p50 ms | p99 ms | fetches for one | memory MB |`);
    say('| --- | --- | --- | --- | --- | --- | --- |');
    for (const row of rows) {
      const ratio = (row.rps / first.rps).toFixed(1);
      say(`| ${row.name} | ${row.rps} | ${ratio} | ${row.p50} | ${row.p99} | ${row.fetches} | ${row.rssMB} |`);
    }
    const bars = rows.map(({ name, rps }) => ({
      name,
      value: rps,
      note: `${rps}/s (${(rps / first.rps).toFixed(1)}×)`,
      highlight: name.startsWith('Tributary'),
    }));
    groups.push({ title, bars });
  }
  const place = pinned ? 'each on one core of its own' : 'not pinned to cores';
  say(`\n${CONNECTIONS} connections, ${seconds} s each, ${place}; ${cpus()[0]?.model}. All answers were the same.`);
  if (options.only || selected.length < Object.keys({ ...SHOP, ...SUPERSTORE }).length) return;
  writeFileSync(CHART, chart(`Requests a second, ${CONNECTIONS} connections, ${place}`, groups));
  say(`Wrote ${CHART}`);
}

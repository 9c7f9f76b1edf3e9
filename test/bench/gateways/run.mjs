// npm run bench: gateways side by side, each alone on one core, load and subgraphs on another; every answer must be the same.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort } from '@tributary/cli';
import { readCommandLine, readNumber, readWord, refuse } from '../../command-line.mjs';
import { startProcesses } from '../stacks.mjs';
import { GENERATORS, hasWrk } from './load.mjs';
import { measure } from './measure.mjs';
import { CONTENDERS, hiveRouters, installPeers, nodeVersion, pinSelf, startNode } from './peers.mjs';
import { chartOf, medians, tableOf, titleOf } from './report.mjs';
import { isDistinct, SCENARIOS, WORKLOADS } from './scenarios.mjs';
import { answering, compose, schemasOf } from './workload.mjs';

const say = (text) => process.stdout.write(`${text}\n`);
const log = (text) => process.stderr.write(`${text}\n`);

const CHART = fileURLToPath(new URL('../../../docs/gateways.svg', import.meta.url));
const REPLAY = fileURLToPath(new URL('./replay.mjs', import.meta.url));
const NAMES = Object.keys(SCENARIOS);

const { values: options } = readCommandLine({
  options: {
    seconds: { type: 'string', default: '10' },
    rounds: { type: 'string', default: '1' },
    queries: { type: 'string', default: NAMES.join() },
    only: { type: 'string' },
    load: { type: 'string' },
    chart: { type: 'string' },
    help: { type: 'boolean', short: 'h', default: false },
  },
});
if (options.help) {
  const width = Math.max(...NAMES.map((name) => name.length));
  say(`Compares gateways: requests a second, latency, fetches from subgraphs, processor time, memory.

  npm run bench -- [--seconds 10] [--rounds 1] [--queries ${NAMES.slice(0, 2)},…] [--only WORD]

  --seconds N    how long each is measured, in whole seconds, after a warm-up of half of that (10)
  --rounds N     measures all in turn, N times, and reports each one's median round (1)
  --queries A,B  some of the scenarios below (all)
  --only WORD    only contenders with this in their name
  --load WORD    what makes the load: wrk or autocannon (wrk, if it is installed)
  --chart FILE   writes the chart there (docs/gateways.svg, unless --queries or --only leaves something out)

Scenarios:
${NAMES.map((name) => `  ${name.padEnd(width)}  ${SCENARIOS[name].about}`).join('\n')}

Contenders are stock gateways, installed from npm the first time; Tributary; and Hive Router, if HIVE_ROUTER_BIN is the path of
its program: cargo +nightly install hive-router --locked --features graphiql --root FOLDER makes FOLDER/bin/hive_router.
Processor time and memory are those of a gateway's whole process group, on Linux. VERBOSE=1 shows what gateways print.`);
  process.exit(0);
}
const seconds = readNumber('--seconds', options.seconds);
const rounds = readNumber('--rounds', options.rounds, { whole: true });
const selected = [...new Set(options.queries.split(','))].map((name) => readWord('--queries', name.trim(), NAMES));
const leftOut = process.env.HIVE_ROUTER_BIN
  ? ''
  : 'Hive Router is left out: HIVE_ROUTER_BIN is not set. --help says how to build it.';
const generator = readGenerator();
const contenders = readContenders();
const isComplete = !options.only && selected.length === NAMES.length;
const chartFile = options.chart ? resolve(options.chart) : isComplete && CHART;

process.on('SIGINT', () => process.exit(130)).on('SIGTERM', () => process.exit(143));
if (contenders.some(({ contender }) => contender.isFromNpm)) {
  process.stderr.write('Peers from npm… ');
  installPeers();
  log('ready.');
}
const folder = mkdtempSync(join(tmpdir(), 'tributary-gateways-'));
const hasSuperstore = selected.some((name) => SCENARIOS[name].workload === 'superstore');
const stack = hasSuperstore ? await startProcesses() : null;
const isPinned = pinSelf(1);
const measured = [];
if (leftOut) log(leftOut);
try {
  for (const name of selected) {
    const scenario = SCENARIOS[name];
    const rows = medians(await measureScenario(name, scenario));
    const title = titleOf(name, scenario, rows);
    measured.push({ title, rows });
    say(`\n### ${title}\n\n${tableOf(rows)}`);
  }
} finally {
  await stack?.stop();
  rmSync(folder, { recursive: true, force: true });
}
conclude();

function readGenerator() {
  if (!options.load) return hasWrk() ? 'wrk' : 'autocannon';
  const word = readWord('--load', options.load, Object.keys(GENERATORS));
  if (word === 'wrk' && !hasWrk()) refuse('--load: wrk is not installed (on Debian: apt-get install wrk)');
  return word;
}

function readContenders() {
  const file = process.env.HIVE_ROUTER_BIN;
  let routers = {};
  try {
    if (file) routers = hiveRouters(file);
  } catch (error) {
    refuse(`HIVE_ROUTER_BIN: expected a program; got ${JSON.stringify(file)} (${error.code})`);
  }
  const isOurs = ([name]) => name.startsWith('Tributary');
  const all = Object.entries(CONTENDERS);
  const ordered = [...all.filter((entry) => !isOurs(entry)), ...Object.entries(routers), ...all.filter(isOurs)];
  const found = ordered.filter(([name]) => !options.only || name.includes(options.only));
  if (found.length > 0) return found.map(([name, contender]) => ({ name, contender }));
  const names = ordered.map(([name]) => name).join('; ');
  const got = JSON.stringify(options.only);
  return refuse([`--only: expected a part of one of these names: ${names}; got ${got}`, leftOut].join('\n').trim());
}

/** A row for each contender and round. */
async function measureScenario(query, scenario) {
  const replayPort = await freePort();
  const supergraph = join(folder, `${query}.graphql`);
  const { workload, delayMs = 0 } = scenario;
  const schemas = WORKLOADS[workload] ?? (await schemasOf(stack.subgraphs));
  writeFileSync(
    supergraph,
    compose(schemas, (name) => `http://127.0.0.1:${replayPort}/${name}`),
  );
  const replay = startNode(1, [REPLAY], {
    PORT: String(replayPort),
    TARGETS: workload === 'superstore' ? JSON.stringify(stack.subgraphs) : workload,
    DELAY_MS: String(delayMs),
    ...(isDistinct(scenario) ? { DISTINCT: '1' } : {}),
  });
  const rows = [];
  try {
    await answering(`http://127.0.0.1:${replayPort}/`);
    const setting = { supergraph, subgraphs: { port: replayPort, pid: replay.pid }, seconds, generator, expected: {} };
    for (let round = 1; round <= rounds; round++) {
      for (const { name, contender } of contenders) {
        process.stderr.write(`${query}${rounds > 1 ? `, round ${round}` : ''}: ${name}… `);
        const result = await measure(contender, scenario, setting).catch((error) => ({ error: error.message }));
        rows.push({ name, contender, ...result });
        log(result.error ? `failed: ${result.error}` : `${Math.round(result.rps)} requests/s`);
      }
    }
    return rows;
  } finally {
    replay.stop();
  }
}

function conclude() {
  const place = isPinned ? 'each on one core of its own' : 'not pinned to cores';
  const times = rounds > 1 ? `${rounds} rounds of ${seconds} s each, medians` : `${seconds} s each`;
  say(`\n${times}, ${place}; load from ${generator}; Node ${nodeVersion()}; ${cpus()[0]?.model}.`);
  say(
    'Ratios are of requests/s. "CPU %" is of one core: well below 100, the load, the subgraphs or their delay is the bound, not the gateway.',
  );
  if (leftOut) say(leftOut);
  const failures = measured.flatMap(({ rows }) => rows).filter(({ error }) => error).length;
  say(failures > 0 ? `${failures} failed; all other answers were the same.` : 'All answers were the same.');
  if (failures > 0) process.exitCode = 1;
  if (!chartFile) return;
  writeFileSync(chartFile, chartOf(`Requests a second, ${place}; load from ${generator}`, measured));
  say(`Wrote ${chartFile}`);
}

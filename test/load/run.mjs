// npm run load: composed queries against a running stack, as its users would ask them. --help says how.
import { accessSync, constants, statSync, writeFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { readCommandLine, readNumber, readWord, refuse } from '../command-line.mjs';
import { Load, percentile } from './client.mjs';
import { readFigures } from './metrics.mjs';
import { html } from './report.mjs';
import { DATA_QUERY, dataOf, SCENARIOS } from './scenarios.mjs';

const LOCAL = /^(localhost|127(\.\d+){3}|\[::1\])$/;
const RAMP = [1, 2, 4, 8, 16, 32, 64, 128, 256];
const RAMP_STEP_S = 5;
/** To the beginning of the line, and what is there erased. */
const CLEAR = '\r\x1b[K';

const say = (line = '') => process.stdout.write(`${line}\n`);

const names = Object.entries(SCENARIOS).map(([name, { title }]) => `    ${name.padEnd(12)}${title}`);
const HELP = `Puts a running stack under load, and reports throughput, latencies and errors. Start one first: npm start

  npm run load -- [--scenario storefront] [[--duration 30] [--clients 32 | --rate 200] | --ramp] [--url http://localhost:4000]

  --scenario NAME
${names.join('\n')}
  --duration S     seconds of load, after two of warming up
  --clients N      number of clients, each waits for its response (the default: 32)
  --rate N         requests per second, however long responses take
  --ramp           more and more clients, five seconds each, until more of them gain nothing
  --url URL        the gateway; the services' metrics are read from this machine's usual ports, or from
  --services URLS  with commas
  --report FILE    the report with its charts (load-report.html)
  --allow-remote   the target may be another machine than this one

The checkout scenario writes: it places orders, fills stock up and pays money in.`;

const { values: options } = readCommandLine({
  options: {
    scenario: { type: 'string', default: 'storefront' },
    duration: { type: 'string' },
    clients: { type: 'string' },
    rate: { type: 'string' },
    ramp: { type: 'boolean', default: false },
    url: { type: 'string', default: 'http://localhost:4000' },
    services: { type: 'string' },
    report: { type: 'string', default: 'load-report.html' },
    'allow-remote': { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
});
if (options.help) {
  say(HELP);
  process.exit(0);
}
const scenario = SCENARIOS[readWord('--scenario', options.scenario, Object.keys(SCENARIOS))];
refuseTogether('clients', 'rate', 'ramp');
refuseTogether('duration', 'ramp');
const duration = readNumber('--duration', options.duration ?? '30', { max: 86_400 });
const clients = readNumber('--clients', options.clients ?? '32', { whole: true, max: 10_000 });
const rate = options.rate === undefined ? null : readNumber('--rate', options.rate, { max: 100_000 });
const url = readUrl('--url', options.url).replace(/\/(graphql)?$/, '');
if (!LOCAL.test(new URL(url).hostname) && !options['allow-remote'])
  refuse(`--url: expected this machine; got "${url}". Add --allow-remote to put another machine under load.`);
const services = options.services?.split(',').map((service) => readUrl('--services', service.trim()));
refuseUnwritableReport();

const data = await readData();
const next = () => scenario.next(data);
await new Load(url, next).closed(4, 2000);

if (options.ramp) await ramp();
else await measure();

async function measure() {
  const before = await readFigures(url, services);
  const load = new Load(url, next);
  const watching = watch(load);
  await (rate === null ? load.closed(clients, duration * 1000) : load.open(rate, duration * 1000));
  clearInterval(watching);
  const seconds = (performance.now() - load.startedAt) / 1000;
  // What was counted last is there by now.
  await sleep(200);
  const after = await readFigures(url, services);
  if (process.stderr.isTTY) process.stderr.write(CLEAR);
  report(load, seconds, before, after);
}

async function ramp() {
  const steps = [];
  for (const many of RAMP) {
    const load = new Load(url, next);
    await load.closed(many, RAMP_STEP_S * 1000);
    const times = load.samples.map(({ tookMs }) => tookMs);
    const step = {
      many,
      rps: times.length / RAMP_STEP_S,
      p50: percentile(times, 0.5),
      p99: percentile(times, 0.99),
      load,
    };
    steps.push(step);
    say(
      `${String(many).padStart(4)} clients  ${step.rps.toFixed(0).padStart(6)} requests/s  p50 ${ms(step.p50)}  p99 ${ms(step.p99)}`,
    );
    const last = steps.at(-2);
    if (last && step.rps < last.rps * 1.1) break;
  }
  const best = steps.reduce((a, b) => (b.rps > a.rps * 1.1 ? b : a));
  say(
    `\nThe knee: ${best.many} clients, ${best.rps.toFixed(0)} requests/s at p99 ${ms(best.p99)}; more clients only wait longer.`,
  );
  const rows = steps.map(({ many, rps, p50, p99 }) => [many, rps.toFixed(0), ms(p50), ms(p99)]);
  const samples = steps.flatMap(({ load }, i) =>
    load.samples.map((sample) => ({ ...sample, at: sample.at + i * RAMP_STEP_S * 1000 })),
  );
  write([`${url}, ${new Date().toISOString()}`], [[['clients', 'requests/s', 'p50', 'p99'], ...rows]], samples);
}

/** A line each second; on a terminal in the place of the one before. */
function watch(load) {
  let seen = 0;
  return setInterval(() => {
    const recent = load.samples.slice(seen);
    seen = load.samples.length;
    const times = recent.map(({ tookMs }) => tookMs);
    const failed = recent.filter((sample) => sample.failed).length;
    const elapsed = Math.round((performance.now() - load.startedAt) / 1000);
    const [before, after] = process.stderr.isTTY ? [CLEAR, ''] : ['', '\n'];
    process.stderr.write(
      `${before}${elapsed} of ${duration} s  ${recent.length} requests/s  p50 ${ms(percentile(times, 0.5))}  p99 ${ms(percentile(times, 0.99))}  ${failed} errors  ${load.underWay} in progress${after}`,
    );
  }, 1000);
}

function report(load, seconds, before, after) {
  const times = load.samples.map(({ tookMs }) => tookMs);
  const count = times.length;
  const gained = (figure) =>
    after[figure] === null || before[figure] === null ? null : after[figure] - before[figure];
  const per = (figure) => (gained(figure) === null ? 'unknown' : (gained(figure) / count).toFixed(2));
  const looked = (gained('hits') ?? 0) + (gained('misses') ?? 0);
  const errors = [...load.errors].map(([code, many]) => `${code} ${many}`).join(', ') || 'none';
  const summary = [
    ['figure', ''],
    [
      'requests',
      `${count}${load.dropped > 0 ? `, and ${load.dropped} that were not sent: too many were in flight` : ''}`,
    ],
    ['requests/s', (count / seconds).toFixed(1)],
    ['p50, p95, p99', [0.5, 0.95, 0.99].map((share) => ms(percentile(times, share))).join(', ')],
    ['errors', errors],
    ['requests that the gateway counted', gained('requests') ?? 'unknown'],
    ['fetches from services, a request', per('fetches')],
    ['SQL statements, a request', per('statements')],
    [
      'from the cache',
      looked === 0 ? 'nothing was looked for' : `${((100 * gained('hits')) / looked).toFixed(1)} % of ${looked}`,
    ],
    ['copies behind their owners', after.lagSeconds === null ? 'unknown' : `${after.lagSeconds.toFixed(1)} s`],
  ];
  const operations = [
    ['operation', 'requests', 'p50', 'p95', 'p99'],
    ...[...load.byOperation].map(([name, took]) => [
      name,
      took.length,
      ...[0.5, 0.95, 0.99].map((share) => ms(percentile(took, share))),
    ]),
  ];
  const how = rate === null ? `${clients} clients, each waits for its answer` : `${rate} requests a second`;
  say(`${options.scenario}: ${scenario.title}; ${how}, ${duration} s\n`);
  for (const table of [summary, operations]) say(`${align(table)}\n`);
  write([`${url}, ${how}, ${duration} s, ${new Date().toISOString()}`], [summary, operations], load.samples);
  if (load.errors.size > 0) process.exitCode = 1;
}

function write(facts, tables, samples) {
  writeFileSync(options.report, html(`Load: ${options.scenario}`, [scenario.title, ...facts], tables, samples));
  say(`The report with its charts: ${options.report}`);
}

function align(rows) {
  const widths = rows[0].map((_cell, i) => Math.max(...rows.map((row) => String(row[i]).length)));
  return rows
    .map((row) =>
      row
        .map((cell, i) => String(cell).padEnd(widths[i]))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

function ms(value) {
  return Number.isFinite(value) ? `${value < 10 ? value.toFixed(1) : value.toFixed(0)} ms` : '-';
}

/** Each of these options sets the amount of load. */
function refuseTogether(...names) {
  const given = names.filter((name) => options[name]);
  if (given.length > 1) refuse(`${given.map((name) => `--${name}`).join(' and ')}: expected only one of them`);
}

function readUrl(name, text) {
  if (URL.canParse(text) && /^https?:$/.test(new URL(text).protocol)) return text;
  return refuse(`${name}: expected a URL such as http://localhost:4000; got ${JSON.stringify(text)}`);
}

/** Fails before the load, not after it. */
function refuseUnwritableReport() {
  try {
    accessSync(`${dirname(resolve(options.report))}/`, constants.W_OK);
    if (!statSync(options.report, { throwIfNoEntry: false })?.isDirectory()) return;
  } catch {
    // Refused below.
  }
  refuse(`--report: expected a file in a folder that can be written; got ${JSON.stringify(options.report)}`);
}

/** What there is to ask for. */
async function readData() {
  try {
    const response = await fetch(`${url}/graphql`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ query: DATA_QUERY }),
      signal: AbortSignal.timeout(10_000),
    });
    const { data: found, errors } = await response.json();
    if (errors) throw new Error(errors[0].message);
    return dataOf(found);
  } catch (error) {
    process.stderr.write(
      `Cannot use the gateway at ${url} (${error.cause?.code ?? error.message}). Start the stack with npm start, or correct --url.\n`,
    );
    return process.exit(1);
  }
}

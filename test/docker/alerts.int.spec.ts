import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { freePort } from '@tributary/cli';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { startGraph, type TestGraph } from '../harness/graph.ts';
import { preload } from '../harness/preload.ts';
import { type RunningProgram, runProgram } from '../harness/process.ts';
import { haveRedis, startRedis, type TestRedis } from '../harness/redis.ts';
import { until } from '../harness/until.ts';

const read = (path: string) => readFileSync(fileURLToPath(new URL(`../../${path}`, import.meta.url)), 'utf8');

interface Rule {
  readonly alert: string;
  readonly metric: string;
  /** The labels by which it groups. */
  readonly by: readonly string[];
  /** What it compares: the value, by how much it grew, or how often it changed. */
  readonly of: 'value' | 'growth' | 'changes';
  /** Whether one value makes it fire, once it lasts. */
  readonly fires: (value: number) => boolean;
}

/** The rules, as far as they are aggregations of one metric that are compared with a number, which all of them are. */
const rules: Rule[] = [...read('docker/alerts.yaml').matchAll(/- alert: (\w+)\n\s+expr: (.*)/g)].map(
  ([, alert = '', expression = '']) => {
    const [, aggregation = '', by = '', metric = '', operator = '', limit = ''] =
      /^(max|min|rate|increase|changes)(?: by \(([\w, ]+)\))? ?\((\w+)(?:\[\w+\])?\) (>|==) ([\d.]+)$/.exec(
        expression,
      ) ?? [];
    expect(metric, `the expression of ${alert}`).not.toBe('');
    return {
      alert,
      metric,
      by: by.split(', ').filter(Boolean),
      of:
        aggregation === 'changes'
          ? 'changes'
          : aggregation === 'rate' || aggregation === 'increase'
            ? 'growth'
            : 'value',
      fires: (value) => (operator === '>' ? value > Number(limit) : value === Number(limit)),
    };
  },
);

interface Sample {
  readonly metric: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

let redis: TestRedis | undefined;
let graph: TestGraph;
let samples: Sample[] = [];

async function scrape(urls = Object.values(graph.urls)): Promise<Sample[]> {
  const texts = await Promise.all(urls.map(async (url) => (await fetch(`${url}/metrics`)).text()));
  return texts.flatMap((text) =>
    [...text.matchAll(/^(\w+)(?:\{(.*)\})? (\S+)$/gm)].map(([, metric = '', labels = '', value]) => ({
      metric,
      labels: Object.fromEntries([...labels.matchAll(/(\w+)="([^"]*)"/g)].map(([, name, text]) => [name, text])),
      value: Number(value),
    })),
  );
}

/** The rules that fire after these scrapes, the last of which is of now. */
function firing(...scrapes: (readonly Sample[])[]): string[] {
  const key = ({ metric, labels }: Sample) => JSON.stringify([metric, labels]);
  const series = scrapes.map((samples) => new Map(samples.map((sample) => [key(sample), sample.value])));
  return rules
    .filter(({ metric, of, fires }) =>
      scrapes.at(-1)?.some((sample) => {
        const values = series.flatMap((samples) => samples.get(key(sample)) ?? []);
        const growth = sample.value - (series[0]?.get(key(sample)) ?? 0);
        const changes = values.filter((value, i) => i > 0 && value !== values[i - 1]).length;
        return sample.metric === metric && fires({ value: sample.value, growth, changes }[of]);
      }),
    )
    .map(({ alert }) => alert);
}

beforeAll(async () => {
  if (haveRedis()) redis = await startRedis();
  graph = await startGraph({ gatewayEnv: { REDIS_URL: redis?.url } });
  await graph.ask('{ users(first: 1) { nodes { id orders { totalCount } } } products(first: 1) { nodes { id } } }');
  // What is measured after the start, such as clocks, and what settles after it.
  await until(
    async () => {
      const before = samples;
      samples = await scrape();
      return firing(before, samples);
    },
    (alerts) => alerts.length === 0 && samples.some(({ metric }) => metric === 'clock_offset_seconds'),
  );
});
afterAll(async () => {
  await graph?.stop();
  await redis?.kill();
});

test('every metric that an alerting rule or a page names is there, with the labels of the rule', () => {
  expect(rules.length).toBeGreaterThan(10);
  // Without samples while there is nothing to count or compare; they are declared all the same.
  const silent =
    /^(unexpected_errors_total|gateway_cache_redis_failures_total|copy_differences|gateway_subgraph_circuit_open)$/;
  for (const { alert, metric, by } of rules) {
    const found = samples.filter((sample) => sample.metric === metric);
    expect(found.length > 0 || silent.test(metric), `${alert}: ${metric}`).toBe(true);
    for (const { labels } of found)
      for (const label of by) expect(Object.keys(labels), `${alert}: ${metric}`).toContain(label);
  }
});

test('the pages name metrics that are there', async () => {
  const pages = ['docs/orders.md', 'docs/events.md', 'docs/operations.md'].flatMap((page) =>
    [
      ...read(page).matchAll(
        /`((?:sagas?|relay|retention|database|copy|dead|audit|bus|clock|gateway|unexpected)_\w+)/g,
      ),
    ].map(([, name]) => name as string),
  );
  const texts = await Promise.all(Object.values(graph.urls).map(async (url) => (await fetch(`${url}/metrics`)).text()));
  const declared = new Set(texts.flatMap((text) => [...text.matchAll(/^# TYPE (\w+)/gm)].map(([, name]) => name)));
  expect(pages.filter((name) => !declared.has(name) && !/_(copy|read|events)$/.test(name))).toEqual([]);
  expect(rules.map(({ metric }) => metric).filter((metric) => !declared.has(metric))).toEqual([]);
});

test('no rule fires while all is well; an event that waits to be published makes its rule fire', async () => {
  expect(firing(samples, samples)).toEqual([]);
  await graph.databases.query(
    'orders',
    `update ledger set published = published - 1;
     update outbox set recorded_at = now() - interval '1 hour' where position = (select head from ledger)`,
  );
  await until(
    () => scrape(),
    (now) => firing(samples, now).includes('EventsNotPublished'),
  );
});

const running: RunningProgram[] = [];
afterEach(async () => {
  for (const program of running) program.kill('SIGKILL');
  await Promise.all(running.splice(0).map(({ ended }) => ended));
});

/** Starts a gateway that throws an exception at SIGPIPE, and waits until it, or one of its processes, listens. */
async function startGateway(port: number, PROCESSES: string) {
  const program = runProgram('gateway/dist/main.js', [], {
    PORT: String(port),
    PROCESSES,
    SUBGRAPHS: `users=${graph.urls.users}/graphql`,
    ...preload(`process.on('SIGPIPE', () => { throw new Error('this is uncaught'); });`),
  });
  running.push(program);
  const [, pid, url = ''] = await program.printed(/"pid":(\d+)[^\n]*"url":"(http:[^"]+)"[^\n]*gateway listens/);
  return { program, url, throws: () => process.kill(Number(pid), 'SIGPIPE') };
}

test('an exception that ends one of several processes makes its rule fire', async () => {
  const { program, url, throws } = await startGateway(await freePort(), '2');
  const before = await scrape([url]);
  throws();
  await program.printed(/a process has ended/);
  expect(firing(before, await scrape([url]))).toContain('UnexpectedErrors');
});

test('a process that is alone and restarts again and again makes a rule fire', async () => {
  const port = await freePort();
  const { program, url, throws } = await startGateway(port, '1');
  const before = await scrape([url]);
  throws();
  await program.ended;
  await startGateway(port, '1');
  const after = await scrape([url]);
  expect(firing(before, after)).not.toContain('ProcessRestarts');
  expect(firing(before, after, before, after)).toContain('ProcessRestarts');
});

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startGraph, type TestGraph } from '../harness/graph.ts';
import { haveRedis, startRedis, type TestRedis } from '../harness/redis.ts';
import { until } from '../harness/until.ts';

const read = (path: string) => readFileSync(fileURLToPath(new URL(`../../${path}`, import.meta.url)), 'utf8');

interface Rule {
  readonly alert: string;
  readonly metric: string;
  /** The labels by which it groups. */
  readonly by: readonly string[];
  /** Whether it is of how much a counter grows. */
  readonly ofGrowth: boolean;
  /** Whether one value makes it fire, once it lasts. */
  readonly fires: (value: number) => boolean;
}

/** The rules, as far as they are aggregations of one metric that are compared with a number, which all of them are. */
const rules: Rule[] = [...read('docker/alerts.yaml').matchAll(/- alert: (\w+)\n\s+expr: (.*)/g)].map(
  ([, alert = '', expression = '']) => {
    const [, aggregation = '', by = '', metric = '', operator = '', limit = ''] =
      /^(max|min|rate|increase)(?: by \(([\w, ]+)\))? ?\((\w+)(?:\[\w+\])?\) (>|==) ([\d.]+)$/.exec(expression) ?? [];
    expect(metric, `the expression of ${alert}`).not.toBe('');
    return {
      alert,
      metric,
      by: by.split(', ').filter(Boolean),
      ofGrowth: aggregation === 'rate' || aggregation === 'increase',
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

async function scrape(): Promise<Sample[]> {
  const texts = await Promise.all(Object.values(graph.urls).map(async (url) => (await fetch(`${url}/metrics`)).text()));
  return texts.flatMap((text) =>
    [...text.matchAll(/^(\w+)(?:\{(.*)\})? (\S+)$/gm)].map(([, metric = '', labels = '', value]) => ({
      metric,
      labels: Object.fromEntries([...labels.matchAll(/(\w+)="([^"]*)"/g)].map(([, name, text]) => [name, text])),
      value: Number(value),
    })),
  );
}

/** The rules that fire, by what was scraped first and what was scraped now. */
function firing(first: readonly Sample[], now: readonly Sample[]): string[] {
  const key = ({ metric, labels }: Sample) => JSON.stringify([metric, labels]);
  const before = new Map(first.map((sample) => [key(sample), sample.value]));
  return rules
    .filter(({ metric, ofGrowth, fires }) =>
      now.some((sample) => {
        const growth = sample.value - (before.get(key(sample)) ?? 0);
        return sample.metric === metric && fires(ofGrowth ? growth : sample.value);
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
  await until(scrape, (now) => firing(samples, now).includes('EventsNotPublished'));
});

import { freePort } from '@tributary/cli';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ask } from '../harness/graphql-client.ts';
import { type RunningProgram, runProgram } from '../harness/process.ts';
import { type Answer, startTestSubgraph, type TestSubgraph } from '../harness/test-subgraph.ts';
import { until } from '../harness/until.ts';

// What an operator reads on the standard output of the gateway's program, in production.

const SDL = 'type Query { stock: Int name: String } enum Unit { PIECE }';
const partnerSdl = (name: string) =>
  `type Query { ${name}${name === 'odd' ? '' : '(of: String)'}: String${name === 'odd' ? '!' : ''} }`;

let catalog: TestSubgraph;
let reviews: TestSubgraph;
/** Each fails in a way of its own. */
let partners: Readonly<Record<string, TestSubgraph>> = {};
/** By LOG_LEVEL. */
let programs: Readonly<Record<'info' | 'warn', { readonly url: string; readonly program: RunningProgram }>>;

beforeAll(async () => {
  catalog = await startTestSubgraph(SDL);
  reviews = await startTestSubgraph('type Query { review: String }');
  for (const name of ['page', 'slow', 'broken', 'odd'])
    partners = { ...partners, [name]: await startTestSubgraph(partnerSdl(name)) };
  const all = { catalog, reviews, ...partners };
  const start = async (level: string) => {
    const port = await freePort();
    const program = runProgram('gateway/dist/main.js', [], {
      NODE_ENV: 'production',
      LOG_LEVEL: level,
      GATEWAY_PORT: String(port),
      SUBGRAPHS: Object.entries(all)
        .map(([name, { url }]) => `${name}=${url}`)
        .join(),
      SUBGRAPH_TIMEOUT: '400ms',
      SUPERGRAPH_POLL_INTERVAL: '300ms',
    });
    const url = `http://localhost:${port}`;
    await until(
      () => fetch(`${url}/health/ready`).catch(() => null),
      (response) => response?.status === 200,
      50_000,
    );
    if (level === 'info') {
      // Lines may reach the test after the response that says "ready".
      await Promise.all([program.printed(/gateway listens/), program.printed(/serving a new supergraph/)]);
    }
    return { url, program };
  };
  const [info, warn] = await Promise.all([start('info'), start('warn')]);
  programs = { info, warn };
});
afterAll(async () => {
  for (const { program } of Object.values(programs ?? {})) program.kill('SIGTERM');
  await Promise.all(Object.values(programs ?? {}).map(({ program }) => program.ended));
  await Promise.all([catalog, reviews, ...Object.values(partners)].map((each) => each?.down()));
});

interface Line {
  readonly level: number;
  readonly msg: string;
  readonly [detail: string]: unknown;
}

const SAMPLE = /^requests failed/;

/** The lines that both programs print from now on: the samples of failed requests, or all others. */
function newLines(kind: 'samples' | 'others' = 'others') {
  const starts = { info: programs.info.program.output().length, warn: programs.warn.program.output().length };
  return (level: 'info' | 'warn'): Line[] => {
    const text = programs[level].program.output().slice(starts[level]);
    return text
      .slice(0, text.lastIndexOf('\n') + 1)
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as Line)
      .filter(({ msg }) => SAMPLE.test(msg) === (kind === 'samples'));
  };
}

/** Sends a request to both programs. */
const send = (query: string) => Promise.all(Object.values(programs).map(({ url }) => ask(url, query)));

test('an outage is four lines, however many requests fail, with the reason, the number of requests and the duration', async () => {
  const lines = newLines();
  const samples = newLines('samples');
  await catalog.down();
  let sent = 0;
  const isOpen = ({ msg }: Line) => msg.startsWith('the circuit of a subgraph opened');
  while (sent < 27 || !lines('info').some(isOpen) || lines('warn').length === 0) {
    sent += 1;
    await send(`query Page${sent} { stock review }`);
  }
  await catalog.up();
  const found = await until(
    async () => lines('info'),
    (all) => all.some(({ msg }) => msg === 'the circuit of the subgraph closed'),
  );
  const subgraph = 'catalog';
  const cause = expect.stringContaining('"catalog" cannot be reached (ECONN');
  const seconds = expect.any(Number);
  const began = { level: 40, subgraph, cause, msg: expect.stringMatching(/^a subgraph fails/) };
  expect(found).toMatchObject([
    began,
    { level: 30, subgraph, cause, msg: expect.stringMatching(/^the circuit of a subgraph opened/) },
    { level: 30, subgraph, failedRequests: sent, seconds, msg: 'the subgraph answers again' },
    { level: 30, subgraph, seconds, msg: 'the circuit of the subgraph closed' },
  ]);
  expect(lines('warn')).toMatchObject([began]);
  expect(samples('info').length).toBeLessThanOrEqual(2);
});

test('requests that fail while their subgraph works otherwise are one line for many, without data of users', async () => {
  const personal = 'ada@example.com';
  const samples = newLines('samples');
  const answerWhere = (name: string, answer: Answer) =>
    partners[name]?.answerWith((response, request) => {
      const data = { _service: { sdl: partnerSdl(name) }, __typename: 'Query' };
      if (/_service|__typename/.test(request.query)) response.end(JSON.stringify({ data }));
      else answer(response, request);
    });
  answerWhere('page', (response) => response.writeHead(500, { 'content-type': 'text/html' }).end('<html>'));
  answerWhere('slow', () => undefined);
  const error = { message: `no ${personal}`, extensions: { code: 'INTERNAL_SERVER_ERROR' } };
  answerWhere('broken', (response) => response.end(JSON.stringify({ errors: [error], data: null })));
  answerWhere('odd', (response) => response.end('{"data":{"odd":null}}'));
  let oddCode: unknown;
  for (let i = 0; i < 5; i++) {
    await Promise.all(
      ['page', 'slow', 'broken'].map((name) => send(`query Ask_${name} { ${name}(of: "${personal}") }`)),
    );
    const [odd] = await send('query Ask_odd { odd }');
    oddCode = odd?.errors?.[0]?.extensions.code;
  }
  for (const level of ['info', 'warn'] as const) {
    const found = await until(
      async () => samples(level),
      (all) => all.length >= 4,
    );
    const lineOf = (name: string) => found.filter(({ operation }) => operation === `Ask_${name}`);
    const common = { level: 40, failedRequests: 5, reqId: expect.any(String) };
    const page = expect.stringContaining('answered with status 500 and no GraphQL result');
    expect(lineOf('page')).toMatchObject([{ ...common, subgraph: 'page', code: 'SUBGRAPH_UNAVAILABLE', cause: page }]);
    const slow = expect.stringContaining('did not answer within 400 ms');
    expect(lineOf('slow')).toMatchObject([{ ...common, subgraph: 'slow', code: 'TIMEOUT', cause: slow }]);
    expect(lineOf('broken')).toMatchObject([{ ...common, subgraph: 'broken', code: 'INTERNAL_SERVER_ERROR' }]);
    const odd = 'Cannot return null for non-nullable field Query.odd.';
    expect(lineOf('odd')).toMatchObject([{ ...common, code: oddCode, cause: odd }]);
    expect(programs[level].program.output()).not.toContain(personal);
  }
});

test('a change of the schema is one line that names what was added, removed and changed', async () => {
  const lines = newLines();
  catalog.serve('type Query { stock(at: ID): Int! label: Label } enum Unit { PIECE KILO } type Label { text: String }');
  const found = await until(
    async () => lines('info'),
    (all) => all.length > 0,
  );
  expect(found).toMatchObject([
    {
      msg: 'serving a new supergraph',
      subgraphs: expect.arrayContaining(['catalog', 'reviews']),
      added: ['Label', 'Query.label', 'Query.stock(at:)', 'Unit.KILO'],
      removed: ['Query.name'],
      changed: ['Query.stock: Int → Int!'],
    },
  ]);
});

test('a schema that does not compose is one line with every reason, and one when it is over', async () => {
  const lines = newLines();
  catalog.serve('type Query { stock: Int review: Int }');
  const polls = async () => {
    const text = await (await fetch(`${programs.info.url}/metrics`)).text();
    return Number(/fetch_duration_seconds_count\{(?=.*"catalog")(?=.*outcome="ok").*\} (\d+)/.exec(text)?.[1]);
  };
  await until(
    async () => lines('warn'),
    (all) => all.length > 0,
  );
  const before = await polls();
  await until(polls, (count) => count >= before + 3);
  expect(lines('warn')).toMatchObject([
    {
      msg: 'the supergraph does not include the current schemas of all subgraphs',
      cause: expect.stringMatching(
        /Type of field "Query\.review" is incompatible.*; Non-shareable field "Query\.review"/,
      ),
    },
  ]);
  catalog.serve('type Query { stock: Int }');
  const found = await until(
    async () => lines('info'),
    (all) => all.some(({ msg }) => msg === 'the supergraph includes the current schemas of all subgraphs'),
  );
  expect(found).toHaveLength(3);
});

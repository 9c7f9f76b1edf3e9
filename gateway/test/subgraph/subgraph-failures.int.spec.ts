import { describe, expect, test } from 'vitest';
import { ask } from '../../../test/harness/graphql-client.ts';
import { gatewayOver, subgraph, type TestGateway } from '../../../test/harness/test-gateway.ts';
import type { Answer } from '../../../test/harness/test-subgraph.ts';
import { until } from '../../../test/harness/until.ts';

const html =
  (status: number): Answer =>
  (response) =>
    response.writeHead(status, { 'content-type': 'text/html' }).end('<html>No server is available.</html>');

const lines = ({ logs }: TestGateway, pattern: RegExp) => logs.filter(({ msg }) => pattern.test(msg));

async function pair() {
  const a = await subgraph('type Query { a: String }');
  const b = await subgraph('type Query { b: String }');
  return { a, b };
}

describe('a schema that alternates between two releases behind one address', () => {
  test('is not swapped with every poll, and is reported once', async () => {
    const a = await subgraph('type Query { a: String }');
    const started = await gatewayOver({ a });
    const polls = () => started.metric(/fetch_duration_seconds_count\{(?=.*outcome="ok")/).then((count) => count ?? 0);
    for (let i = 0; i < 10; i++) {
      a.serve(i % 2 === 0 ? 'type Query { a: String more: String }' : 'type Query { a: String }');
      const before = await polls();
      await until(polls, (count) => count >= before + 2);
    }
    expect(lines(started, /serving a new supergraph/)).toHaveLength(2);
    expect(lines(started, /alternates/)).toMatchObject([{ subgraph: 'a' }]);
    expect((await ask(started.url, 'query Page { a }')).data).toEqual({ a: 'a' });
  });
});

describe('the circuit of a subgraph', () => {
  const ENV = { CIRCUIT_BREAKER_FAILURES: '5', CIRCUIT_BREAKER_RESET: '60s', SUPERGRAPH_POLL_INTERVAL: '1h' };
  const open = ({ metric }: TestGateway, name: string) =>
    metric(new RegExp(`^gateway_subgraph_circuit_open\\{(?=.*subgraph="${name}")`));

  test.each<[string, Answer]>([
    ['a proxy that has no server (503 in HTML)', html(503)],
    ['a page (200 in HTML)', html(200)],
    ['a proxy without such a path (404)', html(404)],
    ['JSON that is no GraphQL result', (response) => response.end('[1]')],
    ['a broken encoding', (response) => response.writeHead(200, { 'content-encoding': 'gzip' }).end('no gzip')],
  ])('opens when it answers as %s, and is logged once', async (_what, answer) => {
    const { a, b } = await pair();
    const started = await gatewayOver({ a, b }, ENV);
    b.answerWith(answer);
    const { data } = await until(
      () => ask(started.url, 'query Page { a b }'),
      ({ errors }) => errors?.[0]?.extensions?.reason === 'CIRCUIT_OPEN' && errors[0].extensions.subgraph === 'b',
    );
    expect(data).toEqual({ a: 'a', b: null });
    expect([await open(started, 'a'), await open(started, 'b')]).toEqual([0, 1]);
    const [opened, ...others] = lines(started, /circuit/);
    expect(opened).toMatchObject({ subgraph: 'b', cause: expect.stringContaining('"b" answered with') });
    expect(others).toEqual([]);
    expect((await started.readiness()).body.degraded?.['subgraph b']).toContain('"b" answered with');
  });

  test("closes when the subgraph answers again, without a client's request", async () => {
    const { a, b } = await pair();
    const started = await gatewayOver({ a, b }, { ...ENV, CIRCUIT_BREAKER_RESET: '200ms' });
    b.answerWith(html(500));
    await until(
      () => ask(started.url, 'query Page { b }').then(() => open(started, 'b')),
      (value) => value === 1,
    );
    b.answerWith(undefined);
    await until(
      () => open(started, 'b'),
      (value) => value === 0,
    );
    expect((await started.readiness()).body.status).toBe('ready');
    expect(lines(started, /circuit/)).toHaveLength(2);
  });

  test.each<[string, Answer]>([
    ['is answered with a page (500)', html(500)],
    ['is not answered in time', () => undefined],
  ])('stays closed, and nothing is logged, when one query of a client %s', async (_what, answer) => {
    const a = await subgraph('type Query { a: String bad: String }');
    const started = await gatewayOver({ a }, { ...ENV, CIRCUIT_BREAKER_RESET: '500ms' });
    a.answerWith((response, request) => {
      if (request.query.includes('bad')) answer(response, request);
      else response.end('{"data":{"a":"a","__typename":"Query"}}');
    });
    const end = performance.now() + 2200;
    const clients = Array.from({ length: 8 }, async () => {
      while (performance.now() < end) await ask(started.url, 'query Bad { bad }');
    });
    await Promise.all(clients);
    expect((await ask(started.url, 'query Page { a }')).data).toEqual({ a: 'a' });
    expect(lines(started, /circuit|subgraph fails/)).toEqual([]);
    expect((await started.readiness()).body.status).toBe('ready');
  });

  test.each<[string, Answer]>([
    ['refuses the request (400)', html(400)],
    ['refuses the caller (401)', html(401)],
    ['refuses the size of the request (413)', html(413)],
    ['sends more than is read', (response) => response.end(`"${'x'.repeat(20_000)}"`)],
    ['fails in GraphQL (503)', (response) => response.writeHead(503).end('{"errors":[{"message":"later"}]}')],
  ])('stays closed when it %s', async (_what, answer) => {
    const { a, b } = await pair();
    const started = await gatewayOver({ a, b }, { ...ENV, SUBGRAPH_MAX_RESPONSE: '10000' });
    b.answerWith(answer);
    for (let i = 0; i < 8; i++) await ask(started.url, 'query Page { a b }');
    expect(await open(started, 'b')).toBe(0);
    expect(lines(started, /circuit/)).toEqual([]);
  });
});

describe('a subgraph that fails', () => {
  /** What a service still answers whose database hangs. */
  const schemaOnly: Answer = (response, { query }) => {
    if (!/_service|__typename/.test(query)) return;
    response.end(
      JSON.stringify({ data: { _service: { sdl: 'type Query { b: String c: String }' }, __typename: 'Query' } }),
    );
  };

  test('and still answers with its schema, is logged once, until it answers clients, too', async () => {
    const { a, b } = await pair();
    b.serve('type Query { b: String c: String }');
    b.answerWith(schemaOnly);
    const env = { SUBGRAPH_TIMEOUT: '100ms', CIRCUIT_BREAKER_FAILURES: '5', CIRCUIT_BREAKER_RESET: '50ms' };
    // Polls pass all the time.
    const started = await gatewayOver({ a, b }, { ...env, SUPERGRAPH_POLL_INTERVAL: '400ms' });
    const askBoth = async () => {
      await Promise.all([ask(started.url, 'query B { b }'), ask(started.url, 'query C { c }')]);
      return lines(started, /subgraph fails|answers again|circuit/);
    };
    const polls = async () => (await started.metric(/fetch_duration_seconds_count\{(?=.*"b")(?=.*outcome="ok")/)) ?? 0;
    await until(askBoth, (found) => found.length === 2);
    const before = await polls();
    await until(
      () => askBoth().then(polls),
      (count) => count >= before + 6,
    );
    expect(await askBoth()).toMatchObject([
      {
        subgraph: 'b',
        msg: expect.stringMatching(/a subgraph fails/),
        cause: expect.stringContaining('did not answer'),
      },
      { subgraph: 'b', msg: expect.stringMatching(/circuit of a subgraph opened/) },
    ]);
    expect((await started.readiness()).body.degraded?.['subgraph b']).toContain('did not answer');
    // No request is sent to it any more, so nothing reports that it fails.
    await until(
      () => started.readiness(),
      ({ body }) => body.status === 'ready',
    );
    expect(lines(started, /answers again/)).toHaveLength(1);
    b.answerWith(undefined);
    await until(
      () => ask(started.url, 'query B { b }'),
      ({ data }) => data?.b === 'b',
    );
  });

  test.each<[string, RegExp, Answer]>([
    ['answers HTML', /status 503 and no GraphQL result/, html(503)],
    ['hangs', /did not answer within/, () => undefined],
    ['cuts connections', /cannot be reached/, (response) => response.destroy()],
  ])('and %s, is logged once with the cause, and once when that is over', async (_what, cause, answer) => {
    const { a, b } = await pair();
    const started = await gatewayOver(
      { a, b },
      { SUPERGRAPH_POLL_INTERVAL: '1h', CIRCUIT_BREAKER_FAILURES: '0', SUBGRAPH_TIMEOUT: '100ms' },
    );
    b.answerWith(answer);
    const failing = () => ask(started.url, 'query Page { a b }').then(() => lines(started, /a subgraph fails/));
    const began = await until(failing, (found) => found.length > 0);
    await failing();
    expect(await failing()).toHaveLength(1);
    expect(began[0]).toMatchObject({ subgraph: 'b', cause: expect.stringMatching(cause) });
    expect((await started.readiness()).body).toMatchObject({
      status: 'degraded',
      degraded: { 'subgraph b': expect.stringMatching(cause) },
    });
    b.answerWith(undefined);
    const ended = await until(
      () => ask(started.url, 'query Page { b }').then(() => lines(started, /answers again/)),
      (found) => found.length > 0,
    );
    expect(ended).toMatchObject([{ subgraph: 'b' }]);
    expect((await started.readiness()).body.status).toBe('ready');
  });
});

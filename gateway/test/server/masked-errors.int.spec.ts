import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startGraph, type TestGraph } from '../../../test/harness/graph.ts';
import { uncatalogued } from '../../../test/harness/graphql-client.ts';

interface LogLine {
  readonly msg: string;
  readonly reqId?: string;
  readonly err?: { readonly message: string };
}

const logs: LogLine[] = [];
let graph: TestGraph;
beforeAll(async () => {
  const logger = pino({ level: 'info' }, { write: (line: string) => void logs.push(JSON.parse(line)) });
  graph = await startGraph({ logger });
  await graph.databases.query('users', `alter table users add constraint unlikely check (name not like 'Unlikely%')`);
});
afterAll(() => graph?.stop());

interface Answer {
  readonly errors: { message: string; extensions: Record<string, unknown> }[];
  readonly requestId: string;
}

async function send(door: 'gateway' | 'users', query: string, headers: Record<string, string> = {}): Promise<Answer> {
  const response = await fetch(`${graph.urls[door]}/graphql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ query }),
  });
  const { errors } = (await response.json()) as Answer;
  return { errors, requestId: response.headers.get('x-request-id') as string };
}

const REGISTER =
  'mutation Register { registerUser(input: { name: "Unlikely Person", email: "unlikely@person.test" }) { id } }';

describe.each(['gateway', 'users'] as const)('an unexpected error of a service, at %s,', (door) => {
  test.each([
    ['of a new request', {}],
    ['of a request that the client named', { 'x-request-id': `of-the-client:${door}` }],
  ])('%s is masked, and its request id finds the log line with the cause', async (_what, headers) => {
    const { errors, requestId } = await send(door, REGISTER, headers);
    if ('x-request-id' in headers) expect(requestId).toBe(headers['x-request-id']);
    expect(errors).toHaveLength(1);
    expect(errors[0]).toMatchObject({
      message: `Something went wrong on our side; it has been logged as request ${requestId}.`,
      extensions: { code: 'INTERNAL_SERVER_ERROR', requestId },
    });
    expect(uncatalogued({ errors })).toEqual([]);
    const lines = logs.filter(({ reqId }) => reqId === requestId);
    expect(lines.map(({ err }) => err?.message)).toEqual([expect.stringContaining('constraint "unlikely"')]);
  });
});

test('of several requests that share what they fetch, each error has an id that finds a log line', async () => {
  await graph.databases.query('users', 'alter table account_entries rename to was_account_entries');
  const query = 'query Entries { user(id: "CG-12520") { account { entries(first: 1) { nodes { id } } } } }';
  const answers = await Promise.all(
    ['one', 'two', 'three'].map((id) => send('gateway', query, { 'x-request-id': id, 'x-max-staleness': '0' })),
  );
  expect(answers.map(({ requestId }) => requestId)).toEqual(['one', 'two', 'three']);
  for (const { errors } of answers) {
    expect(errors[0]?.extensions.code).toBe('INTERNAL_SERVER_ERROR');
    const { requestId } = errors[0]?.extensions ?? {};
    expect(errors[0]?.message).toContain(String(requestId));
    expect(logs.filter(({ reqId }) => reqId === requestId).map(({ err }) => err?.message)).toContainEqual(
      expect.stringContaining('account_entries'),
    );
  }
});

test('a value that a type cannot serialize is no fault of the client', async () => {
  await graph.databases.query('users', `alter table users drop constraint if exists users_status_check`);
  await graph.databases.query('users', `update users set status = 'ODD' where id = 'CG-12520'`);
  const { errors, requestId } = await send('users', 'query Status { user(id: "CG-12520") { status } }');
  expect(errors).toMatchObject([{ extensions: { code: 'INTERNAL_SERVER_ERROR', requestId } }]);
  expect(errors[0]?.message).not.toContain('ODD');
});

import { POSITIONS_HEADER, writeConsistencyToken } from '@tributary/consistency';
import { expect, test } from 'vitest';
import { gatewayOver, subgraph } from '../../../test/harness/test-gateway.ts';

const QUERY = JSON.stringify({ query: 'query Text { text }', operationName: 'Text' });

test('the former names of the consistency headers work, and are logged once', async () => {
  const { url, logs } = await gatewayOver({ a: await subgraph('type Query { text: String }') });
  const send = async (headers: Record<string, string>) => {
    const response = await fetch(`${url}/graphql`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: QUERY,
    });
    return (await response.json()) as { errors?: { message: string; extensions: object }[] };
  };
  const refusals = await Promise.all(
    ['x-session-token', 'x-consistency-token'].map((header) => send({ [header]: 'no' })),
  );
  expect(refusals.map(({ errors }) => errors?.[0])).toMatchObject([
    { extensions: { code: 'BAD_USER_INPUT', field: 'x-session-token' } },
    { extensions: { code: 'BAD_USER_INPUT', field: 'x-consistency-token' } },
  ]);
  // "e30" is a token without positions.
  for (const header of ['x-session-token', 'x-consistency-token']) {
    expect(await send({ [header]: 'e30' })).toEqual({ data: { text: 'text' } });
  }
  expect(await send({ 'x-consistency-token': 'e30', 'x-session-token': 'no' })).toEqual({ data: { text: 'text' } });
  const warnings = logs.filter(({ former }) => former !== undefined);
  expect(warnings).toMatchObject([{ level: 40, former: 'x-session-token', present: 'x-consistency-token' }]);
});

test('with cookies, a client reads its writes through gateways of this release and of the earlier one', async () => {
  const minPositions: unknown[] = [];
  const a = await subgraph('type Query { text: String } type Mutation { change: String }');
  const { url, logs } = await gatewayOver({ a });
  a.answerWith((response, { headers, query }) => {
    minPositions.push(headers['x-min-positions']);
    const isMutation = query.startsWith('mutation');
    if (isMutation) response.setHeader(POSITIONS_HEADER, 'a=12');
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ data: isMutation ? { change: 'changed' } : { text: 'text' } }));
  });
  const token = (position: number) => writeConsistencyToken(new Map([['a', position]]));
  const send = (query: string, headers: Record<string, string>) =>
    fetch(`${url}/graphql`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify({ query }),
    });
  const read = (cookie: string) => send('query Text { text }', { cookie });
  // Each release has written its own cookie last.
  await read(`tributary-consistency=${token(6)}; tributary-session=${token(9)}`);
  await read(`tributary-consistency=${token(9)}; tributary-session=${token(6)}`);
  await read(`tributary-session=${token(3)}`);
  // A former cookie that cannot be read, which no script can delete, does not count beside the present one.
  await read(`tributary-consistency=${token(6)}; tributary-session=no`);
  expect(minPositions).toEqual(['a=9', 'a=9', 'a=3', 'a=6']);
  for (const cookie of ['tributary-session=no', `tributary-consistency=no; tributary-session=${token(6)}`]) {
    const { errors } = (await (await read(cookie)).json()) as { errors: unknown[] };
    expect(errors).toMatchObject([{ extensions: { code: 'BAD_USER_INPUT', field: 'cookie' } }]);
  }
  expect(logs.filter(({ former }) => former !== undefined)).toMatchObject([
    { former: 'tributary-session', present: 'tributary-consistency' },
  ]);

  const cookiesAfter = async (headers: Record<string, string>) =>
    (await send('mutation Change { change }', headers)).headers.getSetCookie().map((cookie) => cookie.split(';')[0]);
  const both = [`tributary-consistency=${token(12)}`, `tributary-session=${token(12)}`];
  expect(await cookiesAfter({ 'x-session': 'cookie' })).toEqual(both);
  expect(await cookiesAfter({ cookie: `tributary-session=${token(3)}` })).toEqual(both);
  expect(await cookiesAfter({ 'x-consistency-cookie': 'true' })).toEqual(both.slice(0, 1));
  expect(await cookiesAfter({})).toEqual([]);
});

test('scripts of other origins may read the token under both names', async () => {
  const { url } = await gatewayOver({ a: await subgraph('type Query { text: String }') });
  const response = await fetch(`${url}/graphql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', origin: 'http://localhost:3000' },
    body: QUERY,
  });
  expect(response.headers.get('access-control-expose-headers')).toContain('x-consistency-token, x-session-token');
});

test('a setting under its former name is used, and wrong values are reported under it', async () => {
  const a = await subgraph('type Query { text: String }');
  await expect(gatewayOver({ a }, { SUBGRAPH_BREAK: '5' })).rejects.toThrow('SUBGRAPH_BREAK: expected a duration');
  await gatewayOver({ a }, { SUBGRAPH_BREAK: '5', CIRCUIT_BREAKER_RESET: '5s' });
});

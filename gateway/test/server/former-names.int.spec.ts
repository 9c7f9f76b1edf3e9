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
  expect(warnings).toMatchObject([{ level: 40, former: 'x-session-token', name: 'x-consistency-token' }]);
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

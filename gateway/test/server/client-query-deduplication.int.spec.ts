import { EventEmitter, once } from 'node:events';
import { expect, test } from 'vitest';
import { ask } from '../../../test/harness/graphql-client.ts';
import { gateway, over, subgraph } from '../../../test/harness/test-gateway.ts';

const QUERY = 'query Greet { greeting }';

/** A gateway whose subgraph responds to `greeting` when `open` is called. */
async function start() {
  const greetings = await subgraph('type Query { greeting: String } type Mutation { change: String }');
  const events = new EventEmitter();
  const { url, gateway: started } = await gateway(
    {
      ...over({ greetings }),
      SUBGRAPH_FETCH_DEDUPLICATION: 'off',
      SUBGRAPH_TIMEOUT: '20s',
      SUPERGRAPH_POLL_INTERVAL: '1h',
    },
    {
      plugins: [
        {
          name: 'arrivals',
          onRequest(request, next) {
            // What `next` does before its first wait includes the decision to join a query in flight.
            const result = next(request);
            events.emit('arrival');
            return result;
          },
        },
      ],
    },
  );
  await started.ready;
  // Only queries whose document is cached are deduplicated.
  expect((await ask(url, QUERY)).data).toEqual({ greeting: 'greeting' });
  let fetches = 0;
  const opened = once(events, 'open');
  greetings.answerWith((response, { query }) => {
    const isMutation = query.startsWith('mutation');
    if (!isMutation) fetches += 1;
    const data = isMutation ? { change: 'changed' } : { greeting: `greeting ${fetches}` };
    const send = () => response.setHeader('content-type', 'application/json').end(JSON.stringify({ data }));
    if (isMutation) send();
    else void opened.then(send);
  });
  /** Sends the query, and waits until the gateway has it in flight. */
  const greet = async () => {
    const arrived = once(events, 'arrival');
    const result = ask(url, QUERY);
    await arrived;
    return { result };
  };
  return { url, greet, open: () => events.emit('open'), fetches: () => fetches };
}

test.each([
  ['a syntax error', 'query {'],
  ['an unknown field', '{ farewell }'],
  ['a missing variable', 'mutation Change($is: Boolean!) { change @include(if: $is) }'],
])('a request with %s between two equal queries leaves them one query', async (_, invalid) => {
  const { url, greet, open, fetches } = await start();
  const first = await greet();
  expect((await ask(url, invalid)).errors).toHaveLength(1);
  const second = await greet();
  open();
  expect(await first.result).toEqual(await second.result);
  expect(fetches()).toBe(1);
});

test('a query after a mutation does not join one that began before', async () => {
  const { url, greet, open, fetches } = await start();
  const first = await greet();
  expect((await ask(url, 'mutation { change }')).data).toEqual({ change: 'changed' });
  const second = await greet();
  open();
  expect([(await first.result).data, (await second.result).data]).toEqual([
    { greeting: 'greeting 1' },
    { greeting: 'greeting 2' },
  ]);
  expect(fetches()).toBe(2);
});

// How fast a change reaches orders' copy, and how fast a copy catches up. Starts a stack of its own, on the built code.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { findConnections, findServices, startLocalStack } from '@tributary/cli';
import pg from 'pg';
import { readNumbers } from '../command-line.mjs';
import { freePorts } from './stacks.mjs';

const [rate, seconds, backlog] = readNumbers(
  { rate: 200, seconds: 60, backlog: 50_000 },
  `npm run bench:copies -- [rate] [seconds] [backlog]

  rate     changes of users per second (200)
  seconds  how long users are changed, while the delay until orders shows a change is measured (60)
  backlog  events that orders catches up with afterwards (50000)`,
);
const folder = mkdtempSync(join(tmpdir(), 'tributary-bench-'));
const options = {
  dataDir: folder,
  gatewayPort: 0,
  ...freePorts(await findServices()),
  postgresPort: 0,
  scale: 1,
  fresh: false,
  logLevel: 'error',
};
const say = (line) => process.stdout.write(`${line}\n`);
const start = () => startLocalStack(options, () => undefined, new AbortController().signal);

const RENAME = 'mutation ($id: ID!, $name: String!) { updateUser(id: $id, input: { name: $name }) { id } }';
const SHOWN = 'query ($id: ID!) { orders(first: 1, filter: { customerId: $id }) { nodes { customer { name } } } }';

const stack = await start();
await measureDelay();
await measureCatchUp();
await stack.stop();
rmSync(folder, { recursive: true, force: true });
process.exit(0);

async function ask(url, query, variables = {}) {
  const response = await fetch(`${url}/graphql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ query, variables }),
  });
  const { data, errors } = await response.json();
  if (errors) throw new Error(JSON.stringify(errors));
  return data;
}

/** From the answer of `updateUser` until `{ orders { customer { name } } }` shows the name, queried at the services themselves. */
async function measureDelay() {
  const { users } = await ask(stack.url, '{ users(first: 100) { nodes { id orders(first: 1) { totalCount } } } }');
  const ids = users.nodes.filter((user) => user.orders.totalCount > 0).map((user) => user.id);
  const pending = new Map();
  const delays = [];
  let changing = true;
  const watcher = (async () => {
    while (changing || pending.size > 0) {
      const [id, change] = pending.entries().next().value ?? [];
      if (id === undefined) {
        await sleep(1);
        continue;
      }
      const { orders } = await ask(stack.serviceUrls.orders, SHOWN, { id });
      if (orders.nodes[0].customer.name !== change.name) continue;
      delays.push(Math.max(0, performance.now() - change.answeredAt));
      pending.delete(id);
    }
  })();
  const startedAt = performance.now();
  const requests = [];
  for (let n = 0; n < rate * seconds; n++) {
    const due = startedAt + (n * 1000) / rate;
    if (due > performance.now()) await sleep(due - performance.now());
    const id = ids[n % ids.length];
    requests.push(
      ask(stack.serviceUrls.users, RENAME, { id, name: `Name ${n}` }).then(() => {
        // One change in twenty is watched, one at a time, so that watching is not the load.
        if (n % 20 === 0 && pending.size === 0) pending.set(id, { name: `Name ${n}`, answeredAt: performance.now() });
      }),
    );
  }
  await Promise.all(requests);
  const took = (performance.now() - startedAt) / 1000;
  changing = false;
  await Promise.race([watcher, sleep(10_000)]);
  delays.sort((a, b) => a - b);
  const at = (share) => delays[Math.min(delays.length - 1, Math.floor(delays.length * share))].toFixed(1);
  say(
    `delay: ${requests.length} changes at ${(requests.length / took).toFixed(0)}/s, ${delays.length} watched: p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, longest ${at(1)} ms`,
  );
}

/** From the start of a stack whose users event log is far ahead of the copy, until the copy is level. */
async function measureCatchUp() {
  const { ORDERS_DATABASE_URL } = findConnections(folder);
  const secrets = JSON.parse(readFileSync(join(folder, 'secrets.json'), 'utf8'));
  const url = new URL(ORDERS_DATABASE_URL);
  url.username = 'users';
  url.password = secrets.users;
  url.pathname = '/users';
  const client = new pg.Client(url.href);
  await client.connect();
  await client.query(
    `insert into outbox (id, type, schema_version, aggregate_type, aggregate_id, aggregate_version, occurred_at, data)
     select gen_random_uuid(), 'UserUpdated', 1, 'User', id, 1000000 + n, now(), jsonb_build_object('name', 'Name ' || n, 'email', email, 'segment', segment, 'status', status)
     from generate_series(1, $1::integer / 100) as n, (select * from users order by id limit 100) as chosen`,
    [backlog],
  );
  const { rows } = await client.query('select count(*)::int as events from outbox');
  await client.end();
  const startedAt = performance.now();
  const from = (await (await fetch(`${stack.serviceUrls.orders}/copies`)).json()).users.position;
  for (;;) {
    const { users } = await (await fetch(`${stack.serviceUrls.orders}/copies`)).json();
    if (users.position >= rows[0].events) break;
    await sleep(20);
  }
  const took = (performance.now() - startedAt) / 1000;
  const applied = rows[0].events - from;
  say(
    `catching up: ${applied} events in ${took.toFixed(1)} s, ${(applied / took).toFixed(0)} events/s (numbering and publishing included)`,
  );
}

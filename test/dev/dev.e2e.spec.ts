import { mkdirSync, rmdirSync, rmSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { until } from '../harness/until.ts';
import { DevSession } from './dev-session.ts';

// `npm run dev` on a copy of the project: one session, edited as a person would.

const TYPES = 'subgraphs/products/src/schema/product-types.ts';

let session: DevSession;
beforeAll(async () => {
  session = await DevSession.start({ 'supergraph.graphql': 'foreign' });
}, 120_000);
afterEach(({ task }) => {
  if (task.result?.state === 'fail') process.stdout.write(session.output);
});
afterAll(async () => {
  await session?.end('SIGKILL');
});

/** Saves the description of `Stock.reserved`. */
function describeReserved(text: string): void {
  session.save(
    TYPES,
    session.read(TYPES).replace(/description: '[^']*' }\) reserved/, `description: '${text}' }) reserved`),
  );
}

test('of two saves 0.3 s apart, the second is live', async () => {
  describeReserved('First.');
  await sleep(300);
  await session.prints(() => describeReserved('Second.'), /^products reloaded, schema live \(\d+\.\d s\)$/m);
  await session.shows('Stock', 'reserved', 'Second.');
}, 120_000);

test('what was saved and taken back is live, too', async () => {
  describeReserved('Third.');
  await session.shows('Stock', 'reserved', 'Third.');
  describeReserved('Second.');
  await session.shows('Stock', 'reserved', 'Second.');
}, 120_000);

test('code that does not compile is shown and not run; its fix is live', async () => {
  const good = session.read(TYPES);
  const position = `${TYPES}:${good.split('\n').length}:23`;
  await session.prints(
    () => session.save(TYPES, `${good.replace('Second.', 'Broken.')}export const broken = missing;\n`),
    new RegExp(
      `^The build failed; nothing is reloaded\\.\n\n${position} {2}TS2304: Cannot find name 'missing'\\.\n`,
      'm',
    ),
  );
  expect((await session.descriptionsOf('Stock')).reserved).toBe('Second.');
  await session.prints(
    () => session.save(TYPES, good.replace('Second.', 'Fixed.'), 'by rename'),
    /^The build succeeds again\.\nproducts reloaded, schema live/m,
  );
  await session.shows('Stock', 'reserved', 'Fixed.');
}, 120_000);

test('while the new code of a service does not start, the one before serves', async () => {
  const main = 'subgraphs/users/src/main.ts';
  const good = session.read(main);
  await session.prints(
    () => session.replace(main, 'await runSubgraph(', "throw new Error('not today');\nawait runSubgraph("),
    /not today[\s\S]*^users did not start: .*\. The process before keeps serving\.$/m,
  );
  session.save(main, good);
}, 120_000);

test('schemas that do not compose are reported and not served; the gateway is still replaced', async () => {
  // Orders says that it is a text, too.
  const [good, wrong] = ['@Field(() => String) sku!', '@Field(() => Int) sku!'];
  await session.prints(
    () => session.replace(TYPES, good, wrong),
    /^products reloaded \(.*\)\nThe new schema is not served; the previous one is\. .*Product\.sku/m,
  );
  await session.prints(
    () => session.replace('gateway/pages/graphiql.html', '<title>Tributary: GraphiQL', '<title>Edited'),
    /^gateway reloaded \(.*\)\nThe new schema is not served; the previous one is\. .*Product\.sku/m,
  );
  expect(await (await fetch(`${session.url}/graphiql`)).text()).toContain('<title>Edited');
  await session.prints(() => session.replace(TYPES, wrong, good), /^products reloaded, schema live/m);
}, 120_000);

test('a changed page is served at once', async () => {
  await session.prints(
    () => session.replace('gateway/pages/graphiql.html', '<title>Edited', '<title>Edited again'),
    /^gateway reloaded \(/m,
  );
  expect(await (await fetch(`${session.url}/graphiql`)).text()).toContain('<title>Edited again');
}, 120_000);

test('a schema that the gateway does not serve is not reported as live', async () => {
  const [users, isNotLive] = ['subgraphs/users/src/main.ts', /reloaded \(.*\)\nThe new schema is not served/];
  const supergraph = session.path('.data/dev-supergraph.graphql.new');
  // It cannot be written.
  mkdirSync(supergraph);
  await session.prints(() => describeReserved('Late.'), isNotLive);
  await session.prints(() => session.save(users, `${session.read(users)}// one\n`), isNotLive);
  rmdirSync(supergraph);
  await session.prints(() => session.save(users, `${session.read(users)}// two\n`), /^users reloaded, schema live/m);
  expect((await session.descriptionsOf('Stock')).reserved).toBe('Late.');
}, 120_000);

test('a new migration has run when the service that needs it is started', async () => {
  const start = 'export const migrations: Migrations = {';
  const migration = `'9999-shelves': { async up(db) { await sql\`alter table stock add shelf text\`.execute(db); } },`;
  await session.prints(
    () => session.replace('subgraphs/products/src/storage/migrations.ts', start, `${start}\n${migration}`),
    /^products reloaded/m,
  );
  expect(await session.columnsOf('stock')).toContain('shelf');
}, 120_000);

test('what needs a new start is named', async () => {
  await session.prints(
    () => session.save('subgraphs/users/package.json', `${session.read('subgraphs/users/package.json')}\n`),
    /^subgraphs\/users\/package\.json has changed: start "npm run dev" again for that\.$/m,
  );
}, 120_000);

test('foreign files in the data folder stay', () => {
  expect(session.foreign).toEqual({ 'supergraph.graphql': 'foreign' });
});

test('none of this logged a warning or failed a query', () => {
  expect(session.warnings).toEqual([]);
  const { count, failures } = session.queries;
  expect(failures).toEqual([]);
  expect(count).toBeGreaterThan(50);
});

test('a process that starts while newer code is built does not replace the newer one', async () => {
  const main = 'subgraphs/products/src/main.ts';
  const good = session.read(main);
  const waiting = `import { existsSync } from 'node:fs';
while (existsSync('wait')) await new Promise((resolve) => setTimeout(resolve, 100));
${good}`;
  await session.prints(() => session.save(main, waiting), /^products reloaded/m);
  session.save('wait', '');
  const [before] = session.processesOf('products');
  process.kill(before as number, 'SIGKILL');
  await until(
    async () => session.processesOf('products'),
    ([now]) => now !== undefined && now !== before,
    60_000,
  );
  await session.prints(() => session.save(main, good), /^products reloaded/m);
  expect(session.processesOf('products')).toHaveLength(1);
  rmSync(session.path('wait'));
}, 120_000);

test('kill -9 leaves no process', async () => {
  expect(await session.end('SIGKILL')).toMatchObject({ status: 'SIGKILL', left: [] });
}, 120_000);

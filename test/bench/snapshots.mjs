// When a snapshot pays off: the time to load an order by the length of its stream, from all of its events and from a snapshot
// of all but the last, in turns.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { createServiceDatabases, EmbeddedPostgres } from '@tributary/cli';
import { definition as orders } from '@tributary/orders';
import { openDatabase } from '@tributary/postgres';
import { sql } from 'kysely';
import { OrderEventStore } from '../../subgraphs/orders/dist/order/event-store.js';
import { readCommandLine } from '../command-line.mjs';

const { values: options } = readCommandLine({ options: { help: { type: 'boolean', short: 'h', default: false } } });
if (options.help) {
  process.stdout.write('npm run bench:snapshots\n\nTakes no options. Starts a PostgreSQL of its own.\n');
  process.exit(0);
}
const LENGTHS = [2, 5, 10, 20, 50, 100, 200, 500, 1000];
const ROUNDS = 300;
const folder = mkdtempSync(join(tmpdir(), 'tributary-bench-'));
const server = await EmbeddedPostgres.start({ dataFolder: folder, port: 0, password: 'bench' });
const urls = await createServiceDatabases(server, { users: 'bench', products: 'bench', orders: 'bench' });
await orders.setUp({ databaseUrl: urls.orders, scale: 0, readHistory: () => undefined });
const db = openDatabase({ url: urls.orders, applicationName: 'bench', maxConnections: 1 });
const store = new OrderEventStore(db);
const lines = [1, 2].map((n) => ({
  productId: `P-${n}`,
  quantity: 2,
  unitPrice: '5.00',
  discount: '0',
  lineTotal: '10.00',
}));
const data = { number: 'N', customerId: 'C', currency: 'USD', lines, total: '20.00' };

process.stdout.write('events  all of them  from a snapshot  ratio\n');
for (const length of LENGTHS) {
  const id = `stream-${length}`;
  const repriced = { type: 'OrderRepriced', data: { lines, total: '20.00' } };
  const events = [{ type: 'OrderPlaced', data }, ...Array.from({ length: length - 1 }, () => repriced)];
  await sql`delete from order_snapshots`.execute(db);
  const [{ after }] = await store.append([{ orderId: id, before: null, events }], new Date());
  await sql`analyze order_events`.execute(db);
  const state = JSON.stringify({ ...after, version: length - 1 });
  const snapshot = () =>
    sql`insert into order_snapshots (order_id, version, shape, state) values (${id}, ${length - 1}, 1, ${state}::jsonb)`.execute(
      db,
    );
  const times = { whole: [], snapshot: [] };
  for (let round = 0; round < ROUNDS; round++) {
    for (const way of ['whole', 'snapshot']) {
      await sql`delete from order_snapshots`.execute(db);
      if (way === 'snapshot') await snapshot();
      const startedAt = performance.now();
      await store.load([id]);
      times[way].push(performance.now() - startedAt);
    }
  }
  const median = (way) => times[way].sort((a, b) => a - b)[ROUNDS / 2];
  const [whole, short] = [median('whole'), median('snapshot')];
  const cells = [`${whole.toFixed(2)} ms`, `${short.toFixed(2)} ms`, (whole / short).toFixed(2)];
  process.stdout.write(`${String(length).padStart(6)} ${cells.map((cell) => cell.padStart(14)).join('')}\n`);
}
await db.destroy();
await server.stop();
rmSync(folder, { recursive: true, force: true });

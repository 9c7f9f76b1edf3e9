import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const PROJECT = fileURLToPath(new URL('../../', import.meta.url));
const BUILT = [
  'shared/events/dist',
  'shared/postgres/dist',
  'shared/server/dist',
  'gateway/dist',
  'subgraphs/users/dist',
  'subgraphs/products/dist',
  'subgraphs/orders/dist',
];

test('every gauge declares how the values of several processes are aggregated', () => {
  const gauges = BUILT.flatMap((folder) =>
    readdirSync(join(PROJECT, folder), { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.js') && !file.startsWith('pages'))
      .flatMap((file) =>
        readFileSync(join(PROJECT, folder, file), 'utf8')
          .split('new Gauge({')
          .slice(1),
      ),
  );
  expect(gauges.length).toBeGreaterThan(10);
  // The options of a gauge end before `collect`, or with the object.
  const options = gauges.map((text) => text.slice(0, text.search(/collect\(|\}\)/)));
  expect(options.filter((text) => !/aggregator: '(max|min|sum|average|first|omit)'/.test(text))).toEqual([]);
});

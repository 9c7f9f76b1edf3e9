import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const SCHEMA = fileURLToPath(new URL('../../docs/schema.graphql', import.meta.url));
const CHECK = fileURLToPath(new URL('../../scripts/check-contract.mjs', import.meta.url));

/** Checks the graph against what clients would have been promised. */
function check(promise: (schema: string) => string) {
  const folder = mkdtempSync(join(tmpdir(), 'tributary-contract-'));
  try {
    const file = join(folder, 'promised.graphql');
    writeFileSync(file, promise(readFileSync(SCHEMA, 'utf8')));
    return spawnSync(process.execPath, [CHECK, file], { encoding: 'utf8' });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

test('the schema has everything that clients were promised', () => {
  expect(check((schema) => schema)).toMatchObject({ status: 0, stderr: '' });
});

test.each([
  [
    'a field',
    (schema: string) => schema.replace('type Order {', 'type Order {\n  shoeSize: Int'),
    'Order.shoeSize was removed.',
  ],
  ['a type', (schema: string) => `${schema}\ntype Shoe { size: Int }`, 'Shoe was removed.'],
  [
    'what a field is',
    (schema: string) => schema.replace('sku: String!', 'sku: Int!'),
    'sku changed type from Int! to String!.',
  ],
  [
    'an argument',
    (schema: string) => schema.replace('user(id: ID!)', 'user(id: ID!, name: String)'),
    'Query.user arg name was removed.',
  ],
])('%s that a client relies on and that is not there fails the check, by name', (_name, promise, message) => {
  const { status, stderr } = check(promise);
  expect(status).toBe(1);
  expect(stderr).toContain(message);
});

import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { settings as gateway } from '@tributary/gateway';
import { definition as orders } from '@tributary/orders';
import { definition as products } from '@tributary/products';
import { setUpSettings } from '@tributary/subgraph';
import { definition as users } from '@tributary/users';
import { expect, inject, test } from 'vitest';
import { parse } from 'yaml';

const DOCKER = fileURLToPath(new URL('../../docker/', import.meta.url));
const PROJECT = fileURLToPath(new URL('../../', import.meta.url));

const compose = [['docker-compose'], ['docker', 'compose']].find(
  ([command = '', ...args]) => spawnSync(command, [...args, 'version']).status === 0,
);
const text = readFileSync(`${DOCKER}compose.yaml`, 'utf8');

/** A copy of docker/ with secrets of its own, so that a developer's are not touched. */
function copyWithSecrets(): string {
  const copy = mkdtempSync(join(tmpdir(), 'tributary-compose-'));
  cpSync(DOCKER, copy, { recursive: true, filter: (source) => !source.endsWith('/secrets') });
  execFileSync('sh', [join(copy, 'make-secrets.sh')]);
  return copy;
}

test('the compose file is valid and has every part of the stack', ({ skip }) => {
  if (!compose) {
    expect(inject('requireServices'), 'docker-compose is required here and was not found').toBe(false);
    skip('docker-compose is not installed');
  }
  const [command = '', ...args] = compose as string[];
  const file = join(copyWithSecrets(), 'compose.yaml');
  const services = execFileSync(command, [...args, '-f', file, 'config', '--services'], { encoding: 'utf8' });
  expect(services.trim().split('\n').sort()).toEqual(
    [
      'gateway',
      'nats',
      'orders',
      'orders-db',
      'orders-setup',
      'products',
      'products-db',
      'products-setup',
      'proxy',
      'redis',
      'users',
      'users-db',
      'users-setup',
    ].sort(),
  );
});

test('the entry files that containers run are built', () => {
  const entries = new Set([...text.matchAll(/command: \["([^"]+\.js)"/g)].map(([, entry]) => entry as string));
  expect([...entries].sort()).toEqual([
    'gateway/dist/main.js',
    'subgraphs/orders/dist/main.js',
    'subgraphs/products/dist/main.js',
    'subgraphs/users/dist/main.js',
  ]);
  for (const entry of entries) expect(existsSync(PROJECT + entry), entry).toBe(true);
});

test('no secret is in the files: they are made, once, for their reader only', () => {
  expect(text).not.toMatch(/PASSWORD: |:\/\/\w+:\w+@/);
  const copy = copyWithSecrets();
  const secrets = join(copy, 'secrets');
  expect(statSync(secrets).mode & 0o777).toBe(0o700);
  const before = readdirSync(secrets).map((name) => readFileSync(join(secrets, name), 'utf8'));
  expect(new Set(before).size).toBe(8);
  execFileSync('sh', [join(copy, 'make-secrets.sh')]);
  expect(readdirSync(secrets).map((name) => readFileSync(join(secrets, name), 'utf8'))).toEqual(before);
});

test('NATS has what it acknowledges on disk', () => {
  expect(readFileSync(`${DOCKER}nats.conf`, 'utf8')).toMatch(/^ {2}sync_interval: always$/m);
});

test('programs are given settings that they read, with values that they accept', () => {
  // Some are given to all, and read by those that need them.
  const settings = { ...gateway, ...users.settings, ...products.settings, ...orders.settings, ...setUpSettings };
  const { services } = parse(text, { merge: true }) as {
    services: Record<string, { command?: string[]; environment?: Record<string, unknown> }>;
  };
  let checked = 0;
  for (const { command: [entry = ''] = [], environment = {} } of Object.values(services)) {
    if (!entry.endsWith('dist/main.js')) continue;
    for (const [variable, given] of Object.entries(environment)) {
      const setting = settings[variable.replace(/_FILE$/, '') as keyof typeof settings];
      expect(setting, `${variable} of ${entry}`).toBeDefined();
      // What it is without a variable of the shell.
      const value = String(given).replace(/\$\{\w+:-([^}]*)\}/g, '$1');
      if (!variable.endsWith('_FILE') && value !== '')
        expect(setting.safeParse(value), variable).toMatchObject({ success: true });
      checked += 1;
    }
  }
  expect(checked).toBeGreaterThan(20);
});

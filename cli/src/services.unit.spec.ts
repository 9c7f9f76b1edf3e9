import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import { expect, test } from 'vitest';
import { isServiceName, portKeyOf, readServiceFolders } from '../bin/service-folders.mjs';
import { environmentOf, findServices, PROJECT, portOf } from './services.js';

test('services are found by their folders, and declare the ports of their definitions', async () => {
  const ports = { users: 4001, products: 4002, orders: 4003 };
  expect(readServiceFolders()).toEqual(Object.entries(ports).map(([name, port]) => ({ name, port })));
  const definitions = await findServices();
  expect(Object.fromEntries(definitions.map(({ name, port }) => [name, port]))).toEqual(ports);
});

test.each(['users', 'gift-cards', 'a-2-b'])(
  'the option for the port of %s has the key that commander gives it',
  (name) => {
    const command = new Command().option(`--${name}-port <port>`).parse([`--${name}-port=5`], { from: 'user' });
    expect(command.opts()).toEqual({ [portKeyOf(name)]: '5' });
  },
);

test('a port is that of the option, or of the variable, or of the definition', () => {
  const service = { name: 'gift-cards', port: 4010 };
  expect(portOf(service, {})).toBe(4010);
  process.env.GIFT_CARDS_PORT = '5010';
  expect(portOf(service, {})).toBe(5010);
  expect(portOf(service, { giftCardsPort: 0 })).toBe(0);
  delete process.env.GIFT_CARDS_PORT;
});

test('variables are derived from the names of services', async () => {
  const services = (await findServices()).slice(0, 1).map((service) => ({ ...service, name: 'gift-cards' }));
  const databaseUrls = { 'gift-cards': 'postgres://localhost/gift-cards' };
  expect(environmentOf(services, new Map([['gift-cards', 4010]]), databaseUrls)).toEqual({
    GIFT_CARDS_PORT: '4010',
    GIFT_CARDS_URL: 'http://localhost:4010',
    GIFT_CARDS_DATABASE_URL: 'postgres://localhost/gift-cards',
  });
});

test.each([
  'Reviews',
  'gift cards',
  'gift--cards',
  '-reviews',
  '2nd',
  'gift-2',
  'users-database',
  'database',
  'gateway',
  'postgres',
  'nats',
  'redis',
])('%j is no name of a service', (name) => {
  expect(isServiceName(name)).toBe(false);
});

test('no service has a name whose variables are settings of the programs', () => {
  const services = readServiceFolders().map(({ name }) => name);
  const settings = readFileSync(join(PROJECT, 'docs/configuration.md'), 'utf8');
  const names = [...settings.matchAll(/\b([A-Z][A-Z0-9_]*?)_(?:DATABASE_URL|URL|PORT)\b/g)].map(([, name]) =>
    (name as string).toLowerCase().replaceAll('_', '-'),
  );
  expect(names).toEqual(expect.arrayContaining([...services, 'auth-jwks', 'gateway', 'nats', 'redis']));
  expect(names.filter((name) => isServiceName(name) && !services.includes(name))).toEqual([]);
});

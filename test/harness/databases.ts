import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { inject } from 'vitest';

/** The services that own a database. */
export const SERVICES = ['users', 'products', 'orders'] as const;
export type ServiceName = (typeof SERVICES)[number];

/** Databases of one test file: clones of the imported ones, dropped at the end. */
export interface TestDatabases {
  readonly urls: Readonly<Record<ServiceName, string>>;
  /** Runs SQL on one of them as the service's role. */
  query(service: ServiceName, sql: string, values?: unknown[]): Promise<Record<string, unknown>[]>;
  drop(): Promise<void>;
}

/** Clones the imported databases of all three services. */
export const cloneDatabases = () => createDatabases((service) => service);

/** Databases of all three services without any table. */
export const createEmptyDatabases = () => createDatabases(() => 'template0');

async function createDatabases(templateOf: (service: ServiceName) => string): Promise<TestDatabases> {
  const suffix = `_${randomBytes(5).toString('hex')}`;
  const services = ['users', 'products', 'orders'] as const;
  await asSuperuser(async (client) => {
    for (const service of services) {
      await client.query(`create database ${service + suffix} template ${templateOf(service)} owner ${service}`);
      await client.query(`revoke connect, temporary on database ${service + suffix} from public`);
    }
  });
  const urls = Object.fromEntries(
    services.map((service) => [service, urlOf(service, suffix)]),
  ) as TestDatabases['urls'];
  return {
    urls,
    async query(service, sql, values) {
      const client = new pg.Client(urls[service]);
      await client.connect();
      try {
        return (await client.query(sql, values)).rows;
      } finally {
        await client.end();
      }
    },
    drop: () =>
      asSuperuser(async (client) => {
        for (const service of services) await client.query(`drop database ${service + suffix} with (force)`);
      }),
  };
}

function urlOf(service: ServiceName, suffix: string): string {
  const url = new URL(inject('postgresUrl'));
  url.username = service;
  url.pathname = `/${service}${suffix}`;
  return url.href;
}

async function asSuperuser(run: (client: pg.Client) => Promise<void>): Promise<void> {
  const client = new pg.Client(inject('postgresUrl'));
  await client.connect();
  try {
    await run(client);
  } finally {
    await client.end();
  }
}

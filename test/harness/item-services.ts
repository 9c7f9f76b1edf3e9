import { randomBytes } from 'node:crypto';
import { buildSubgraphSchema } from '@apollo/subgraph';
import type { EventBus, LoggedEvent } from '@tributary/bus';
import {
  addInSyncTimes,
  consumeEvents,
  createConsumerTables,
  createNumbering,
  createOutbox,
  createRelayLease,
  type EventSettings,
  eventLogClient,
  type InvalidatedBy,
  type NewEvent,
  publishEvents,
  recordEvents,
} from '@tributary/events';
import { openDatabase } from '@tributary/postgres';
import { createHttpService, operationRunner, serveGraphQL } from '@tributary/server';
import { parse } from 'graphql';
import { type Kysely, sql } from 'kysely';
import pg from 'pg';
import { type Logger, pino } from 'pino';
import { inject } from 'vitest';
import { type TcpProxy, through } from './tcp-proxy.ts';

const LINK = `
  extend schema @link(url: "https://specs.apollo.dev/federation/v2.9", import: ["@key", "@external", "@provides", "@shareable", "@composeDirective"])
  extend schema @link(url: "https://tributary.dev/cache/v0.1", import: ["@cacheControl"]) @composeDirective(name: "@cacheControl")
  directive @cacheControl(scope: String! = "PUBLIC", of: [String!]! = []) on OBJECT | FIELD_DEFINITION
`;
const ITEMS_SCHEMA = `${LINK}
  type Query { item(id: ID!): Item @cacheControl items: [Item!]! @cacheControl(of: ["Item"]) }
  type Mutation { change(id: ID!): Item! }
  type Item @key(fields: "id") @cacheControl { id: ID! version: Int! @shareable size: Int! }`;
const SHELVES_SCHEMA = `${LINK}
  type Query { shelf(id: ID!): Shelf @cacheControl }
  type Mutation { tidy(id: ID!): Shelf! }
  type Shelf @key(fields: "id") @cacheControl { id: ID! tidied: Int! item: Item! @provides(fields: "version") }
  type Item @key(fields: "id") @cacheControl { id: ID! version: Int! @external shelf: Shelf! }`;

const silent = pino({ level: 'silent' });

/** What an instance of a service works with; tests slow it down and break it. */
export interface Surroundings {
  /** The way of its relay and consumer to the database; resolvers have a way of their own, which is always fast. */
  readonly database: TcpProxy;
  /** Closed with the instance. */
  readonly bus: EventBus;
  readonly logger?: Logger;
  readonly pollIntervalMs?: number;
  /** What an event touched; its aggregate unless given. */
  readonly invalidatedBy?: InvalidatedBy;
  /** Nothing is deleted unless given. */
  readonly retention?: { readonly afterMs: number; readonly consumers: readonly string[] };
}

/** Two databases: that of the service that owns items, and that of the one that shows them, on shelves, from a copy. */
export interface ItemDatabases {
  readonly ids: readonly string[];
  readonly urls: Readonly<Record<'items' | 'shelves', string>>;
  /** All changes of items, in the order of their positions. */
  changes(): Promise<{ position: number; id: string; version: number }[]>;
  drop(): Promise<void>;
}

export async function createItemDatabases(count: number): Promise<ItemDatabases> {
  const ids = Array.from({ length: count }, (_, i) => `i${i}`);
  const suffix = randomBytes(5).toString('hex');
  const names = { items: `freshness_items_${suffix}`, shelves: `freshness_shelves_${suffix}` };
  const urlOf = (name: string) => {
    const url = new URL(inject('postgresUrl'));
    url.pathname = `/${name}`;
    return url.href;
  };
  const urls = { items: urlOf(names.items), shelves: urlOf(names.shelves) };
  await asSuperuser(async (client) => {
    for (const name of Object.values(names)) await client.query(`create database ${name}`);
  });
  for (const [service, url] of Object.entries(urls)) {
    const db = openDatabase<unknown>({ url, applicationName: 'test', maxConnections: 1 });
    await createOutbox(db);
    await createNumbering(db);
    await createRelayLease(db);
    await createConsumerTables(db);
    await addInSyncTimes(db);
    const table = service === 'items' ? 'items' : 'items_copy';
    await sql`create table ${sql.table(table)} (id text primary key, version integer not null)`.execute(db);
    await sql`insert into ${sql.table(table)} select id, 0 from unnest(${ids}::text[]) as ids (id)`.execute(db);
    if (service === 'shelves') {
      await sql`create table shelves (id text primary key, tidied integer not null)`.execute(db);
      await sql`insert into shelves select id, 0 from unnest(${ids}::text[]) as ids (id)`.execute(db);
    }
    await db.destroy();
  }
  return {
    ids,
    urls,
    async changes() {
      const client = new pg.Client(urls.items);
      await client.connect();
      const { rows } = await client.query(
        'select position::int, aggregate_id as id, aggregate_version as version from outbox where position is not null order by position',
      );
      await client.end();
      return rows;
    },
    drop: () =>
      asSuperuser(async (client) => {
        for (const name of Object.values(names)) await client.query(`drop database if exists ${name} with (force)`);
      }),
  };
}

async function asSuperuser(run: (client: pg.Client) => Promise<void>): Promise<void> {
  const client = new pg.Client(inject('postgresUrl'));
  await client.connect();
  await run(client).finally(() => client.end());
}

/** An instance of a service that runs. */
export interface ItemService {
  readonly url: string;
  /** Resolves when its copies have first been in sync. */
  readonly caughtUp: Promise<unknown>;
  stop(): Promise<void>;
}

/** An instance of the service that owns items. @param onCommit called after each commit of a change */
export function startItems(
  { urls }: ItemDatabases,
  surroundings: Surroundings,
  onCommit: (id: string, version: number) => void = () => undefined,
): Promise<ItemService> {
  return startService('items', urls.items, surroundings, ITEMS_SCHEMA, (db) => {
    const read = async (id: string) => {
      const { rows } = await sql<{ version: number }>`select version from items where id = ${id}`.execute(db);
      return { id, version: rows[0]?.version, size: rows[0]?.version };
    };
    return {
      Query: {
        item: (_: unknown, { id }: { id: string }) => read(id),
        items: async () =>
          (await sql<{ id: string }>`select id, version, version as size from items order by id`.execute(db)).rows,
      },
      Mutation: {
        change: async (_: unknown, { id }: { id: string }) => {
          const version = await grow(db, 'items', 'version', id, 'Item');
          onCommit(id, version);
          return { id, version, size: version };
        },
      },
      Item: { __resolveReference: ({ id }: { id: string }) => read(id) },
    };
  });
}

/** An instance of the service that shows items from a copy. @param itemsUrl where the owner's event log is read */
export function startShelves(
  { urls }: ItemDatabases,
  surroundings: Surroundings,
  itemsUrl: string,
): Promise<ItemService> {
  const resolvers = (db: Kysely<unknown>) => {
    const shelf = async (id: string) => {
      const { rows } = await sql<{ tidied: number; version: number }>`
        select tidied, version from shelves join items_copy using (id) where id = ${id}
      `.execute(db);
      const [row] = rows;
      return { __typename: 'Shelf', id, tidied: row?.tidied, item: { __typename: 'Item', id, version: row?.version } };
    };
    return {
      Query: { shelf: (_: unknown, { id }: { id: string }) => shelf(id) },
      Mutation: {
        tidy: async (_: unknown, { id }: { id: string }) => {
          await grow(db, 'shelves', 'tidied', id, 'Shelf');
          return shelf(id);
        },
      },
      Shelf: { __resolveReference: ({ id }: { id: string }) => shelf(id) },
      Item: {
        __resolveReference: ({ id }: { id: string }) => ({ __typename: 'Item', id }),
        shelf: ({ id }: { id: string }) => shelf(id),
      },
    };
  };
  const feed = {
    source: 'items',
    eventLog: eventLogClient(itemsUrl, undefined),
    filter: () => true,
    apply: async (transaction: Kysely<unknown>, events: readonly LoggedEvent[]) => {
      for (const { aggregateId, aggregateVersion } of events) {
        await sql`
          update items_copy set version = ${aggregateVersion} where id = ${aggregateId} and version < ${aggregateVersion}
        `.execute(transaction);
      }
    },
  };
  return startService('shelves', urls.shelves, surroundings, SHELVES_SCHEMA, resolvers, [feed]);
}

async function startService(
  name: string,
  databaseUrl: string,
  { database, bus, logger = silent, pollIntervalMs = 500, invalidatedBy = aggregateOf, retention }: Surroundings,
  typeDefs: string,
  resolversOf: (db: Kysely<unknown>) => Record<string, Record<string, unknown>>,
  feeds: Parameters<typeof consumeEvents<unknown>>[1] = [],
): Promise<ItemService> {
  const db = openDatabase<unknown>({ url: databaseUrl, applicationName: name });
  const service = createHttpService({
    name,
    host: '127.0.0.1',
    port: 0,
    logger,
    readiness: async () => ({ ready: true }),
  });
  const schema = buildSubgraphSchema({ typeDefs: parse(typeDefs), resolvers: resolversOf(db) as never });
  serveGraphQL(
    service.app,
    operationRunner(schema, async () => ({})),
  );
  const settings: EventSettings = {
    EVENT_POLL_INTERVAL: pollIntervalMs,
    EVENT_LOG_RETENTION: retention?.afterMs ?? 0,
    EVENT_LOG_CONSUMERS: retention?.consumers,
    VERIFY_INTERVAL: 0,
  };
  const events = {
    name,
    databaseUrl: through(database, databaseUrl),
    settings,
    bus,
    logger,
    invalidatedBy,
  };
  publishEvents(service, events, {});
  const { caughtUp } = consumeEvents<unknown>(service, feeds, [], events);
  const url = await service.listen();
  return {
    url,
    caughtUp,
    async stop() {
      await service.close();
      await bus.close();
      await db.destroy();
    },
  };
}

const aggregateOf: InvalidatedBy = ({ aggregateType, aggregateId }) => [`${aggregateType}:${aggregateId}`];

/** One more of something, with its event. @returns how many there are now, once that is committed */
function grow(db: Kysely<unknown>, table: string, column: string, id: string, aggregateType: string): Promise<number> {
  return db.transaction().execute(async (transaction) => {
    const { rows } = await sql<{ count: number }>`
      update ${sql.table(table)} set ${sql.ref(column)} = ${sql.ref(column)} + 1 where id = ${id}
      returning ${sql.ref(column)} as count
    `.execute(transaction);
    const aggregateVersion = rows[0]?.count as number;
    const event: NewEvent = {
      type: `${aggregateType}Changed`,
      schemaVersion: 1,
      aggregateType,
      aggregateId: id,
      aggregateVersion,
      data: {},
    };
    await recordEvents(transaction, [event], { correlationId: null, causationId: null, traceparent: null });
    return aggregateVersion;
  });
}

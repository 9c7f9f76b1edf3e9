import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { buildSubgraphSchema } from '@apollo/subgraph';
import type { EventBus } from '@tributary/shared/events/event-bus';
import {
  MIN_POSITIONS_HEADER,
  type ReadPosition,
  readPositions,
  TOUCHES_HEADER,
  writePositions,
  writeTouches,
} from '@tributary/shared/events/positions-header';
import { execute, parse } from 'graphql';
import type { Random } from '../harness/random.ts';

const LINK = `
  extend schema @link(url: "https://specs.apollo.dev/federation/v2.9", import: ["@key", "@external", "@provides", "@shareable", "@composeDirective"])
  extend schema @link(url: "https://tributary.dev/cache/v0.1", import: ["@cacheControl"]) @composeDirective(name: "@cacheControl")
  directive @cacheControl(scope: String! = "PUBLIC", of: [String!]! = []) on OBJECT | FIELD_DEFINITION
`;

/** When each version of an item was committed, in milliseconds of `performance.now()`. */
type History = readonly number[];

/** A service that owns items, and one that copies them, late: their answers are late, too, and told of as they should be. */
export interface SlowServices {
  readonly urls: Readonly<Record<'items' | 'shelves', string>>;
  readonly ids: readonly string[];
  /** By item. Version 0 was there from the start. */
  readonly histories: ReadonlyMap<string, History>;
  /** The newest version of an item that events up to a position tell of. */
  versionAt(id: string, position: number): number;
  stop(): Promise<void>;
}

/** Now and then the copy does nothing for so long. */
const LONG_REST_MS = 700;

interface Change {
  readonly id: string;
  readonly version: number;
}

/** Speaks to gateways over the bus as a service of the graph does: what changed, at once and in order, and that nothing did. */
export async function startSlowServices(bus: EventBus, random: Random, count: number): Promise<SlowServices> {
  const ids = Array.from({ length: count }, (_, i) => `i${i}`);
  const ledger: Change[] = [];
  const histories = new Map(ids.map((id) => [id, [performance.now()]]));
  const current = new Map(ids.map((id) => [id, 0]));
  const copy = new Map(ids.map((id) => [id, 0]));
  let told = 0;
  let copied = 0;
  let copyLevelAt = performance.now();
  let stopped = false;

  const touchesFrom = (from: number) => {
    const touched = ledger.slice(from).map(({ id }, i) => ({ position: from + i + 1, entities: [`Item:${id}`] }));
    return { from, to: ledger.length, at: Date.now(), touched };
  };
  const tellAll = () => {
    bus.tell('items', touchesFrom(told));
    bus.tell('shelves', { from: 0, to: 0, at: Date.now(), touched: [] });
    told = ledger.length;
  };
  const background = (work: () => void, longestMs: number, rests = 0) =>
    (async () => {
      while (!stopped) {
        await sleep(random.next() < rests ? LONG_REST_MS : random.below(longestMs));
        work();
      }
    })();
  const running = [
    background(tellAll, 8),
    background(
      () => {
        // The copy is a few events behind, and now and then level.
        const upTo = Math.min(ledger.length, copied + 1 + random.below(6));
        for (const { id, version } of ledger.slice(copied, upTo)) copy.set(id, version);
        copied = upTo;
        if (copied === ledger.length) copyLevelAt = performance.now();
      },
      25,
      0.02,
    ),
  ];

  const items = await serve(
    `${LINK}
    type Query { item(id: ID!): Item @cacheControl items: [Item!]! @cacheControl(of: ["Item"]) }
    type Mutation { change(id: ID!): Item }
    type Item @key(fields: "id") @cacheControl { id: ID! version: Int! @shareable size: Int! }`,
    {
      read: (id) => ({ __typename: 'Item', id, version: current.get(id) ?? -1, size: current.get(id) ?? -1 }),
      roots: {
        item: ({ id }) => ({ id }),
        items: () => ids.map((id) => ({ id })),
        change: ({ id }) => {
          const version = (current.get(id as string) ?? 0) + 1;
          current.set(id as string, version);
          histories.get(id as string)?.push(performance.now());
          ledger.push({ id: id as string, version });
          return { id };
        },
      },
      positions: () => new Map([['items', { position: ledger.length, ageMs: null }]]),
      // Mostly what gateways may not have heard of yet, now and then what they may not even follow.
      touches: () => (random.next() < 0.2 ? null : writeTouches(touchesFrom(Math.max(0, told - random.below(3))))),
      reach: async () => undefined,
      delay: () => sleep(random.below(15)),
    },
  );
  const shelves = await serve(
    `${LINK}
    type Query { shelf(id: ID!): Shelf @cacheControl }
    type Shelf @key(fields: "id") @cacheControl { id: ID! item: Item! @provides(fields: "version") }
    type Item @key(fields: "id") @cacheControl { id: ID! version: Int! @external }`,
    {
      read: (id) => ({ __typename: 'Item', id, version: copy.get(id) ?? -1 }),
      roots: { shelf: ({ id }) => ({ __typename: 'Shelf', id, item: { id } }) },
      touches: () => null,
      positions: () =>
        new Map([
          ['shelves', { position: 0, ageMs: null }],
          ['items', { position: copied, ageMs: Math.ceil(performance.now() - copyLevelAt) }],
        ]),
      reach: async (wanted) => {
        const until = performance.now() + 60;
        while (copied < (wanted.get('items')?.position ?? 0) && performance.now() < until) await sleep(3);
      },
      delay: () => sleep(random.below(15)),
    },
  );

  return {
    urls: { items: items.url, shelves: shelves.url },
    ids,
    histories,
    versionAt: (id, position) => ledger.slice(0, position).findLast((change) => change.id === id)?.version ?? 0,
    async stop() {
      stopped = true;
      await Promise.all(running);
      items.server.close();
      shelves.server.close();
      items.server.closeAllConnections();
      shelves.server.closeAllConnections();
    },
  };
}

interface Behaviour {
  /** An item as it is now. */
  readonly read: (id: string) => Record<string, unknown>;
  readonly roots: Readonly<Record<string, (args: Record<string, unknown>) => unknown>>;
  readonly positions: () => Map<string, ReadPosition>;
  /** What the answer to a mutation says of what changed; null: nothing. */
  readonly touches: () => string | null;
  readonly reach: (wanted: ReadonlyMap<string, ReadPosition>) => Promise<void>;
  readonly delay: () => Promise<void>;
}

async function serve(sdl: string, behaviour: Behaviour): Promise<{ server: Server; url: string }> {
  const schema = buildSubgraphSchema({
    typeDefs: parse(sdl),
    resolvers: { Item: { __resolveReference: (item: object) => item } },
  });
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const { query, variables } = JSON.parse(Buffer.concat(chunks).toString());
    const wanted = request.headers[MIN_POSITIONS_HEADER];
    if (typeof wanted === 'string') await behaviour.reach(readPositions(wanted));
    await behaviour.delay();
    const before = behaviour.positions();
    const result = await execute({
      schema,
      document: parse(query),
      variableValues: variables,
      fieldResolver: (source, args, _context, { fieldName, parentType }) => {
        if (parentType.name === 'Query' || parentType.name === 'Mutation') return behaviour.roots[fieldName]?.(args);
        const isItem = parentType.name === 'Item' && fieldName !== 'id';
        return isItem
          ? behaviour.read((source as { id: string }).id)[fieldName]
          : (source as Record<string, unknown>)[fieldName];
      },
    });
    const isMutation = /^\s*mutation/.test(query);
    const positions = isMutation ? behaviour.positions() : before;
    const touches = isMutation ? behaviour.touches() : null;
    // What was read is on its way for a while, and may have changed since.
    await behaviour.delay();
    response.setHeader('content-type', 'application/json');
    response.setHeader('x-positions', writePositions(positions));
    if (touches) response.setHeader(TOUCHES_HEADER, touches);
    response.end(JSON.stringify(result));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/graphql` };
}

import type { Invalidations } from '@tributary/consistency';
import { connect } from 'nats';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { ManualTime } from '../../../test/harness/manual-time.ts';
import { haveNats, startNats, type TestNats } from '../../../test/harness/nats.ts';
import { startTcpProxy, through } from '../../../test/harness/tcp-proxy.ts';
import { until } from '../../../test/harness/until.ts';
import type { LoggedEvent } from '../src/event.js';
import type { EventBus } from '../src/event-bus.js';
import { InProcessBus } from '../src/in-process-bus.js';
import { NatsBus } from '../src/nats/nats-bus.js';

// One contract, two carriers.

let nats: TestNats | undefined;
beforeAll(async () => {
  if (haveNats()) nats = await startNats();
});
afterAll(() => nats?.remove());

const open: EventBus[] = [];
afterEach(async () => {
  for (const bus of open.splice(0)) await bus.close();
});

let sources = 0;
const newSource = () => `source${sources++}`;

const event = (source: string, position: number, data: Record<string, unknown> = {}): LoggedEvent => ({
  position,
  id: `${source}-${position}`,
  source,
  type: 'Tested',
  schemaVersion: 1,
  aggregateType: 'Test',
  aggregateId: `id ${position}.*>`,
  aggregateVersion: 1,
  occurredAt: new Date().toISOString(),
  correlationId: null,
  causationId: null,
  traceparent: null,
  data,
});
const events = (source: string, from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, i) => event(source, from + i));

describe.each(['in-process', 'NATS'])('the %s bus', (kind) => {
  const bus = (skip: (why: string) => void): EventBus => {
    if (kind === 'NATS' && !nats) skip('nats-server is not installed');
    const opened =
      kind === 'NATS'
        ? new NatsBus({ url: (nats as TestNats).url, name: 'test', logger: pino({ level: 'silent' }) })
        : new InProcessBus();
    open.push(opened);
    return opened;
  };

  test('delivers published events completely and in order', async ({ skip }) => {
    const carrier = bus(skip);
    const source = newSource();
    const got: LoggedEvent[] = [];
    await carrier.subscribe(source, 'reader', {
      onEvents: async (batch) => void got.push(...batch),
      onEndPosition: () => undefined,
    });
    const sent = events(source, 1, 1200);
    for (let i = 0; i < sent.length; i += 100) await carrier.publish(source, sent.slice(i, i + 100));
    await until(
      async () => got.length,
      (length) => length >= sent.length,
    );
    expect(got).toEqual(sent);
  });

  test('redelivers events that the listener rejected', async ({ skip }) => {
    const carrier = bus(skip);
    const source = newSource();
    const taken = new Set<number>();
    let refusals = 2;
    await carrier.subscribe(source, 'reader', {
      onEvents: async (batch) => {
        if (refusals-- > 0) throw new Error('not now');
        for (const { position } of batch) taken.add(position);
      },
      onEndPosition: () => undefined,
    });
    await carrier.publish(source, events(source, 1, 5));
    await until(
      async () => taken.size,
      (size) => size === 5,
    );
    expect(refusals).toBeLessThan(0);
  });

  test('serves several consumers independently, and separates the sources', async ({ skip }) => {
    const carrier = bus(skip);
    const [one, other] = [newSource(), newSource()];
    const got: Record<string, number[]> = { a: [], b: [], c: [] };
    const listen = (source: string, consumer: string) =>
      carrier.subscribe(source, consumer, {
        onEvents: async (batch) => void got[consumer]?.push(...batch.map(({ position }) => position)),
        onEndPosition: () => undefined,
      });
    await listen(one, 'a');
    await listen(one, 'b');
    await listen(other, 'c');
    await carrier.publish(one, events(one, 1, 3));
    await carrier.publish(other, events(other, 7, 8));
    await until(
      async () => got,
      ({ a, b, c }) => [a, b, c].flat().length === 8,
    );
    expect(got).toEqual({ a: [1, 2, 3], b: [1, 2, 3], c: [7, 8] });
  });

  test('announces end positions, and delivers nothing after the subscription ended', async ({ skip }) => {
    const carrier = bus(skip);
    const source = newSource();
    const ends: number[] = [];
    const taken: number[] = [];
    const stop = await carrier.subscribe(source, 'reader', {
      onEvents: async (batch) => void taken.push(...batch.map(({ position }) => position)),
      onEndPosition: ({ position }) => ends.push(position),
    });
    await until(
      async () => {
        carrier.announce(source, { position: 41, at: Date.now() });
        return ends.length;
      },
      (length) => length > 0,
    );
    expect(ends[0]).toBe(41);
    await stop();
    // Another one, on the same connection, receives what comes after: by then the first would have received it, too.
    const later: string[] = [];
    const stopOther = await carrier.subscribe(source, 'other', {
      onEvents: async (batch) => void later.push(...batch.map(({ position }) => `event ${position}`)),
      onEndPosition: ({ position }) => later.push(`end ${position}`),
    });
    await carrier.publish(source, events(source, 1, 1));
    await until(
      async () => {
        carrier.announce(source, { position: 42, at: Date.now() });
        return later;
      },
      (received) => received.includes('event 1') && received.includes('end 42'),
    );
    await stopOther();
    expect(ends).not.toContain(42);
    expect(taken).toEqual([]);
  });

  test('deletes the events of one aggregate only', async ({ skip }) => {
    const carrier = bus(skip);
    const source = newSource();
    await carrier.publish(source, [event(source, 1, { name: 'secret' }), event(source, 2, { name: 'open' })]);
    await carrier.forget(source, 'Test', event(source, 1).aggregateId);
    const got: LoggedEvent[] = [];
    await carrier.subscribe(source, 'late', {
      onEvents: async (batch) => void got.push(...batch),
      onEndPosition: () => undefined,
    });
    await carrier.publish(source, events(source, 3, 3));
    await until(
      async () => got.some(({ position }) => position === 3),
      (there) => there,
    );
    expect(JSON.stringify(got)).not.toContain('secret');
  });
});

describe('over NATS, the bus', () => {
  const openNats = (skip: (why: string) => void, log: string[] = []) => {
    if (!nats) skip('nats-server is not installed');
    const logger = pino({ level: 'info' }, { write: (line: string) => void log.push(line) });
    const carrier = new NatsBus({ url: (nats as TestNats).url, name: 'test', logger });
    open.push(carrier);
    return carrier;
  };
  const MEGABYTE = 1024 * 1024;

  test('leaves out an event that is too large, and reports it without its data', async ({ skip }) => {
    const log: string[] = [];
    const carrier = openNats(skip, log);
    const source = newSource();
    const got: number[] = [];
    await carrier.subscribe(source, 'reader', {
      onEvents: async (batch) => void got.push(...batch.map(({ position }) => position)),
      onEndPosition: () => undefined,
    });
    const large = event(source, 2, { secret: 'x'.repeat(2 * MEGABYTE) });
    const batch = [event(source, 1), large, event(source, 3)];
    const leftOut = await carrier.publish(source, batch);
    await until(
      async () => got,
      (positions) => positions.includes(3),
    );
    expect(got).not.toContain(2);
    const bytes = JSON.stringify(large).length + `NATS/1.0\r\nNats-Msg-Id: ${source}:2\r\n\r\n`.length;
    expect(leftOut).toEqual([`Tested at position 2 has ${bytes} bytes with its headers; NATS takes at most 1048576`]);
    // The stream may have a limit of its own.
    const connection = await connect({ servers: (nats as TestNats).url });
    const manager = await connection.jetstreamManager();
    await manager.streams.update(`tributary_${source}`, { max_msg_size: 10_000 });
    await connection.close();
    const more = await carrier.publish(source, [event(source, 4, { secret: 'x'.repeat(20_000) }), event(source, 5)]);
    await until(
      async () => got,
      (positions) => positions.includes(5),
    );
    expect(more).toEqual([
      expect.stringMatching(
        /^Tested at position 4 has 2\d{4} bytes with its headers; the stream's own limit is lower$/,
      ),
    ]);
    expect(log).toEqual([]);
  });

  test('stops publishing when the publisher lost the lead', async ({ skip }) => {
    const carrier = openNats(skip);
    const source = newSource();
    let asked = 0;
    const events = Array.from({ length: 600 }, (_, i) => event(source, i + 1));
    await expect(carrier.publish(source, events, () => ++asked === 1)).rejects.toThrow('another relay leads');
    const connection = await connect({ servers: (nats as TestNats).url });
    const { state } = await (await connection.jetstreamManager()).streams.info(`tributary_${source}`);
    await connection.close();
    expect(state.messages).toBe(250);
  });

  test('splits invalidations by size, and leaves a gap where those of one position do not fit', async ({ skip }) => {
    const carrier = openNats(skip);
    const source = newSource();
    const received: Invalidations[] = [];
    await carrier.subscribeToInvalidations(source, {
      onInvalidations: (_source, invalidations) => received.push(invalidations),
    });
    const at = Date.now();
    await until(
      async () => {
        carrier.publishInvalidations(source, { from: 100, to: 100, at, touched: [] });
        return received.length;
      },
      (length) => length > 0,
    );
    const touch = (position: number, bytes: number) => ({ position, entities: [`Order:${'x'.repeat(bytes)}`] });
    const touched = [
      ...Array.from({ length: 50 }, (_, i) => touch(101 + i, 60_000)),
      touch(151, 2 * MEGABYTE),
      touch(152, 10),
      touch(160, 2 * MEGABYTE),
    ];
    carrier.publishInvalidations(source, { from: 100, to: 160, at, touched });
    await until(
      async () => received.at(-1)?.to,
      (to) => to === 160,
    );
    const parts = received.filter(({ to }) => to > 100);
    const before = parts.filter(({ to }) => to <= 150);
    expect(before.length).toBeGreaterThan(2);
    expect(before.map(({ from }) => from)).toEqual([100, ...before.slice(0, -1).map(({ to }) => to)]);
    expect(before.at(-1)?.to).toBe(150);
    expect(before.flatMap(({ touched }) => touched)).toEqual(touched.slice(0, 50));
    expect(parts.slice(before.length)).toEqual([
      { from: 151, to: 159, at: 0, touched: [touched[51]] },
      { from: 160, to: 160, at, touched: [] },
    ]);
    // Before the last part, the invalidations are not complete up to any time.
    expect(parts.slice(0, -1).every((part) => part.at === 0)).toBe(true);
  });

  test('ignores messages of a relay of an earlier term', async ({ skip }) => {
    const carrier = openNats(skip);
    const source = newSource();
    const ends: number[] = [];
    const invalidatedTo: number[] = [];
    await carrier.subscribe(source, 'reader', {
      onEvents: async () => undefined,
      onEndPosition: ({ position }) => ends.push(position),
    });
    await carrier.subscribeToInvalidations(source, { onInvalidations: (_source, { to }) => invalidatedTo.push(to) });
    const send = (position: number, term?: number) => {
      carrier.announce(source, { position, at: Date.now(), ...(term && { term }) });
      carrier.publishInvalidations(source, {
        from: position,
        to: position,
        at: Date.now(),
        ...(term && { term }),
        touched: [],
      });
    };
    await until(
      async () => {
        send(1, 7);
        return Math.min(ends.length, invalidatedTo.length);
      },
      (length) => length > 0,
    );
    send(2, 6);
    send(3);
    send(4, 7);
    await until(
      async () => [ends.at(-1), invalidatedTo.at(-1)],
      (last) => last.every((position) => position === 4),
    );
    expect([ends, invalidatedTo].map((positions) => new Set(positions))).toEqual([
      new Set([1, 3, 4]),
      new Set([1, 3, 4]),
    ]);
  });

  test('skips a message that is not an event', async ({ skip }) => {
    const log: string[] = [];
    const carrier = openNats(skip, log);
    const source = newSource();
    await carrier.publish(source, events(source, 1, 1));
    const connection = await connect({ servers: (nats as TestNats).url });
    await connection.jetstream().publish(`tributary.events.${source}.Test.x`, 'no event');
    await connection.close();
    await carrier.publish(source, events(source, 2, 2));
    const got: number[] = [];
    await carrier.subscribe(source, 'reader', {
      onEvents: async (batch) => void got.push(...batch.map(({ position }) => position)),
      onEndPosition: () => undefined,
    });
    await until(
      async () => got,
      (positions) => positions.includes(1) && positions.includes(2),
    );
    expect(log.map((line) => JSON.parse(line).msg)).toEqual(['a message in the stream is no event; it is skipped']);
  });

  test('stops within 5 s while a listener hangs', async ({ skip }) => {
    const carrier = openNats(skip);
    const source = newSource();
    let began = false;
    const stop = await carrier.subscribe(source, 'reader', {
      onEvents: () => {
        began = true;
        return new Promise(() => undefined);
      },
      onEndPosition: () => undefined,
    });
    await carrier.publish(source, events(source, 1, 1));
    await until(
      async () => began,
      (there) => there,
    );
    const stoppedAt = performance.now();
    await stop();
    await carrier.close();
    expect(performance.now() - stoppedAt).toBeLessThan(5000);
  });
});

describe('over NATS that does not answer, in virtual time,', () => {
  const openThroughProxy = async (skip: (why: string) => void) => {
    if (!nats) skip('nats-server is not installed');
    const { url } = nats as TestNats;
    const proxy = await startTcpProxy('127.0.0.1', Number(new URL(url).port));
    const time = new ManualTime();
    const carrier = new NatsBus({ url: through(proxy, url), name: 'test', logger: pino({ level: 'silent' }), time });
    onTestFinished(async () => {
      await proxy.close();
      await carrier.close();
    });
    return { proxy, time, carrier };
  };

  test('a publisher waits 2 s for a connection', async ({ skip }) => {
    const { proxy, time, carrier } = await openThroughProxy(skip);
    proxy.pause();
    const source = newSource();
    const refused = expect(carrier.publish(source, events(source, 1, 1))).rejects.toThrow('NATS cannot be reached');
    await time.advance(2000);
    await refused;
  });

  test('a subscription that is not confirmed within 2 s is a problem once it lasts 2 s more', async ({ skip }) => {
    const { proxy, time, carrier } = await openThroughProxy(skip);
    const source = newSource();
    await carrier.publish(source, events(source, 1, 1));
    proxy.pause();
    await carrier.subscribeToInvalidations(source, { onInvalidations: () => undefined });
    await time.advance(0);
    await time.advance(3999);
    expect(carrier.problem()).toBeNull();
    await time.advance(1);
    expect(carrier.problem()).toMatch(`invalidations of ${source} cannot be received: `);
  });
});

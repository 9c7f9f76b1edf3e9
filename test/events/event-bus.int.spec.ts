import type { LedgerEvent } from '@tributary/shared/events/event';
import type { EventBus } from '@tributary/shared/events/event-bus';
import { InProcessBus } from '@tributary/shared/events/in-process-bus';
import { NatsBus } from '@tributary/shared/events/nats-bus';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { haveNats, startNats, type TestNats } from '../harness/nats.ts';
import { until } from '../harness/until.ts';

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

const event = (source: string, position: number, data: Record<string, unknown> = {}): LedgerEvent => ({
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

  test('delivers what is published, whole and in order', async ({ skip }) => {
    const carrier = bus(skip);
    const source = newSource();
    const got: LedgerEvent[] = [];
    await carrier.subscribe(source, 'reader', {
      onEvents: async (batch) => void got.push(...batch),
      onHead: () => undefined,
    });
    const sent = events(source, 1, 1200);
    for (let i = 0; i < sent.length; i += 100) await carrier.publish(source, sent.slice(i, i + 100));
    await until(
      async () => got.length,
      (length) => length >= sent.length,
    );
    expect(got).toEqual(sent);
  });

  test('delivers again what the listener could not take', async ({ skip }) => {
    const carrier = bus(skip);
    const source = newSource();
    const taken = new Set<number>();
    let refusals = 2;
    await carrier.subscribe(source, 'reader', {
      onEvents: async (batch) => {
        if (refusals-- > 0) throw new Error('not now');
        for (const { position } of batch) taken.add(position);
      },
      onHead: () => undefined,
    });
    await carrier.publish(source, events(source, 1, 5));
    await until(
      async () => taken.size,
      (size) => size === 5,
    );
    expect(refusals).toBeLessThan(0);
  });

  test('serves several consumers, each by itself, and keeps the sources apart', async ({ skip }) => {
    const carrier = bus(skip);
    const [one, other] = [newSource(), newSource()];
    const got: Record<string, number[]> = { a: [], b: [], c: [] };
    const listen = (source: string, consumer: string) =>
      carrier.subscribe(source, consumer, {
        onEvents: async (batch) => void got[consumer]?.push(...batch.map(({ position }) => position)),
        onHead: () => undefined,
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

  test('tells heads, and nothing any more after the subscription ended', async ({ skip }) => {
    const carrier = bus(skip);
    const source = newSource();
    const heads: number[] = [];
    const taken: number[] = [];
    const stop = await carrier.subscribe(source, 'reader', {
      onEvents: async (batch) => void taken.push(...batch.map(({ position }) => position)),
      onHead: ({ position }) => heads.push(position),
    });
    await until(
      async () => {
        carrier.announce(source, { position: 41, at: Date.now() });
        return heads.length;
      },
      (length) => length > 0,
    );
    expect(heads[0]).toBe(41);
    await stop();
    // Another one, on the same connection, hears what comes after: by then the first would have heard it, too.
    const later: string[] = [];
    const stopOther = await carrier.subscribe(source, 'other', {
      onEvents: async (batch) => void later.push(...batch.map(({ position }) => `event ${position}`)),
      onHead: ({ position }) => later.push(`head ${position}`),
    });
    await carrier.publish(source, events(source, 1, 1));
    await until(
      async () => {
        carrier.announce(source, { position: 42, at: Date.now() });
        return later;
      },
      (heard) => heard.includes('event 1') && heard.includes('head 42'),
    );
    await stopOther();
    expect(heads).not.toContain(42);
    expect(taken).toEqual([]);
  });

  test('forgets an aggregate without disturbing the others', async ({ skip }) => {
    const carrier = bus(skip);
    const source = newSource();
    await carrier.publish(source, [event(source, 1, { name: 'secret' }), event(source, 2, { name: 'open' })]);
    await carrier.forget(source, 'Test', event(source, 1).aggregateId);
    const got: LedgerEvent[] = [];
    await carrier.subscribe(source, 'late', {
      onEvents: async (batch) => void got.push(...batch),
      onHead: () => undefined,
    });
    await carrier.publish(source, events(source, 3, 3));
    await until(
      async () => got.some(({ position }) => position === 3),
      (there) => there,
    );
    expect(JSON.stringify(got)).not.toContain('secret');
  });
});

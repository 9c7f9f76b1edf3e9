import { expect, test } from 'vitest';
import { until } from '../../../test/harness/until.ts';
import type { LoggedEvent } from '../src/event.js';
import { InProcessBus } from '../src/in-process-bus.js';

const event = (position: number, aggregateId: string): LoggedEvent => ({
  position,
  id: `event-${position}`,
  source: 'users',
  type: 'UserUpdated',
  schemaVersion: 1,
  aggregateType: 'User',
  aggregateId,
  aggregateVersion: position,
  occurredAt: new Date().toISOString(),
  correlationId: null,
  causationId: null,
  traceparent: null,
  data: {},
});

test('deletes the waiting events of an aggregate, including those that a listener rejected', async () => {
  const bus = new InProcessBus();
  const taken: number[] = [];
  let refuse: (() => void) | null = null;
  const inHand = new Promise<void>((resolve) => {
    const onEvents = (events: readonly LoggedEvent[]) =>
      new Promise<void>((take, reject) => {
        if (refuse) {
          taken.push(...events.map(({ position }) => position));
          return take();
        }
        refuse = () => reject(new Error('not now'));
        return resolve();
      });
    void bus.subscribe('users', 'orders', { onEvents, onEndPosition: () => undefined });
  });
  await bus.publish('users', [event(1, 'erased'), event(2, 'kept')]);
  await inHand;
  await bus.publish('users', [event(3, 'erased'), event(4, 'kept')]);
  await bus.forget('users', 'User', 'erased');
  (refuse as unknown as () => void)();
  await until(
    async () => taken,
    (positions) => positions.length === 2,
  );
  expect(taken).toEqual([2, 4]);
  await bus.close();
});

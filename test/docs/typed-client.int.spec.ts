import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startGraph, type TestGraph } from '../harness/graph.ts';
import { runProgram } from '../harness/process.ts';

// The client of docs/typed-client.md, as it stands there: its types are made, it is compiled, it is run.

const PROJECT = fileURLToPath(new URL('../../', import.meta.url));

let graph: TestGraph;
let folder = '';
beforeAll(async () => {
  graph = await startGraph();
  folder = mkdtempSync(join(tmpdir(), 'tributary-typed-client-'));
  cpSync(join(PROJECT, 'docs/typed-client'), folder, { recursive: true });
  symlinkSync(join(PROJECT, 'node_modules'), join(folder, 'node_modules'));
});
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  await graph?.stop();
});

function run(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8', cwd: folder });
  return { status, output: stdout + stderr };
}
const generate = () => run(join(folder, 'generate.mjs'), join(PROJECT, 'docs/schema.graphql'), folder);
const compile = () => run(join(PROJECT, 'node_modules/typescript/bin/tsc'), '-p', folder);

function edit(file: string, from: string, to: string): () => void {
  const path = join(folder, file);
  const before = readFileSync(path, 'utf8');
  expect(before).toContain(from);
  writeFileSync(path, before.replace(from, to));
  return () => writeFileSync(path, before);
}

test('its types are made, it compiles, and it places an order and shows it', async () => {
  expect(generate()).toMatchObject({ status: 0 });
  expect(compile()).toEqual({ status: 0, output: '' });
  const program = runProgram(join(folder, 'dist/example.js'), [], { GRAPH_URL: `${graph.urls.gateway}/graphql` });
  expect(await program.ended, program.output()).toBe(0);
  const said = program.output().split('\n');
  expect(said[0]).toMatch(/^Order \S+ is CONFIRMED\.$/);
  expect(said[1]).toMatch(/^1 × Bush Somerset Collection Bookcase, \d+ left$/);
});

test.each([
  ['http://127.0.0.1:47/graphql', 'ECONNREFUSED'],
  ['nonsense', 'Failed to parse URL from nonsense|ERR_INVALID_URL'],
])('without a graph at %s it prints one line', async (GRAPH_URL, reason) => {
  const program = runProgram(join(folder, 'dist/example.js'), [], { GRAPH_URL });
  expect(await program.ended).toBe(1);
  expect(program.output()).toMatch(new RegExp(`^No answer from the graph at ${GRAPH_URL}: (${reason})\n$`));
});

test('unknown fields and fields that were not selected are refused by the compiler', () => {
  const restoreOperations = edit('operations.graphql', 'status', 'statuses');
  expect(generate()).toMatchObject({ output: expect.stringContaining('statuses') });
  restoreOperations();
  expect(generate()).toMatchObject({ status: 0 });
  const restoreExample = edit('example.ts', 'placeOrder.status', 'placeOrder.total');
  expect(compile()).toMatchObject({ status: 2, output: expect.stringContaining("Property 'total' does not exist") });
  restoreExample();
  const restoreVariables = edit('example.ts', '{ number: placeOrder.number }', '{}');
  expect(compile()).toMatchObject({ status: 2, output: expect.stringContaining("Property 'number' is missing") });
  restoreVariables();
});

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ask } from '../harness/graphql-client.ts';
import { runProgram } from '../harness/process.ts';
import { gateway, subgraph } from '../harness/test-gateway.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tributary-compose-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

/** Runs `compose` to its end. */
async function compose(subgraphs: string) {
  const program = runProgram('gateway/dist/main.js', ['compose'], { SUBGRAPHS: subgraphs });
  return { status: await program.ended, output: program.output() };
}

test('compose prints a supergraph that a gateway serves from a file', async () => {
  const a = await subgraph('type Query { a: String }');
  const b = await subgraph('type Query { b: String }');
  const { status, output } = await compose(`a=${a.url.replace('//', '//user:secret@')},b=${b.url}`);
  expect(status).toBe(0);
  expect(output).not.toContain('secret');
  const path = join(folder, 'supergraph.graphql');
  writeFileSync(path, output);
  const { url, gateway: started } = await gateway({ SUPERGRAPH_PATH: path });
  await started.ready;
  expect((await ask(url, 'query Both { a b }')).data).toEqual({ a: 'a', b: 'b' });
});

test('compose names every schema that it cannot read, and prints no supergraph', async () => {
  const plain = await subgraph('type Query { a: String }');
  plain.answerWith((response) => response.end('{"errors":[{"message":"Cannot query field \\"_service\\"."}]}'));
  const page = await subgraph('type Query { a: String }');
  page.answerWith((response) => response.writeHead(404, { 'content-type': 'text/html' }).end('<html>'));
  const away = await subgraph('type Query { a: String }');
  await away.down();
  const { status, output } = await compose(`plain=${plain.url},page=${page.url},away=${away.url}`);
  expect(status).toBe(1);
  const lines = output.trimEnd().split('\n');
  expect(lines[0]).toBe('gateway: a schema could not be read');
  expect(lines.slice(1).toSorted()).toEqual([
    `  away at ${away.url}: Subgraph "away" cannot be reached (ECONNREFUSED).`,
    `  page at ${page.url}: Subgraph "page" answered with status 404 and no GraphQL result.`,
    `  plain at ${plain.url}: Cannot query field "_service".`,
  ]);
});

test('compose prints each reason why schemas do not compose, a line each', async () => {
  const a = await subgraph('type Query { a: String x: String }');
  const b = await subgraph('type Query { b: String x: Int }');
  const { status, output } = await compose(`a=${a.url},b=${b.url}`);
  expect(status).toBe(1);
  expect(output.trimEnd().split('\n')).toEqual([
    'gateway: the schemas do not compose',
    expect.stringMatching(/^ {2}Type of field "Query\.x" is incompatible/),
    expect.stringMatching(/^ {2}Non-shareable field "Query\.x"/),
  ]);
});

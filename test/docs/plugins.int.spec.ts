import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import { ask } from '../harness/graphql-client.ts';
import { type RunningProgram, runProgram } from '../harness/process.ts';
import { subgraph } from '../harness/test-gateway.ts';

// Compiles and runs the two files of docs/plugins.md.

const PROJECT = fileURLToPath(new URL('../../', import.meta.url));
/** Inside the project, so that the imports of its packages resolve. */
const FOLDER = join(PROJECT, 'test/docs/generated-plugins');
let program: RunningProgram | undefined;
afterAll(() => {
  program?.kill('SIGKILL');
  rmSync(FOLDER, { recursive: true, force: true });
});

test('the plug-in of docs/plugins.md refuses unnamed operations, and reports slow ones', async () => {
  const page = readFileSync(join(PROJECT, 'docs/plugins.md'), 'utf8');
  const [plugin = '', main = ''] = [...page.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, code]) => code);
  mkdirSync(FOLDER, { recursive: true });
  writeFileSync(join(FOLDER, 'slow-operations.ts'), plugin);
  // Every operation is slow.
  writeFileSync(join(FOLDER, 'main.ts'), main.replace('slowOperations(500,', 'slowOperations(0,'));
  const settings = {
    extends: '../../../tsconfig.json',
    compilerOptions: { rootDir: FOLDER },
    files: ['slow-operations.ts', 'main.ts'],
  };
  writeFileSync(join(FOLDER, 'tsconfig.json'), JSON.stringify(settings));
  execFileSync(join(PROJECT, 'node_modules/.bin/tsc'), ['-p', FOLDER], { stdio: 'inherit' });

  const items = await subgraph('type Query { a: String }');
  program = runProgram(join(FOLDER, 'main.js'), [], { SUBGRAPHS: `items=${items.url}`, GATEWAY_PORT: '0' });
  const [, url = ''] = await program.printed(/(http:\/\/[\w.]+:\d+)/);
  await program.printed(/"supergraph/);
  const unnamed = await ask(url, '{ a }');
  expect(unnamed.errors).toMatchObject([{ extensions: { code: 'BAD_REQUEST' } }]);
  expect(await ask(url, 'query Find { a }', {}, { 'x-client-name': 'shop' })).toMatchObject({ data: { a: 'a' } });
  await program.printed(/Find took \d+ ms for shop/);
  program.kill('SIGTERM');
  expect(await program.ended).toBe(0);
});

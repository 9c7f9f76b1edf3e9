import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, test } from 'vitest';

const SCRIPT = fileURLToPath(new URL('../../scripts/structure.mjs', import.meta.url));
/** A project that keeps every rule. */
const SOUND: Readonly<Record<string, string>> = {
  'shared/consistency/package.json': '{}',
  'shared/consistency/src/index.ts': 'export const token = 1;',
  'shared/server/package.json': '{}',
  'shared/server/src/index.ts': "import { token } from '@tributary/consistency';\nexport const server = token;",
  'shared/postgres/package.json': '{}',
  'shared/postgres/src/index.ts': "export * from './database.js';",
  'shared/postgres/src/database.ts': 'export const database = 1;',
  'subgraphs/reviews/package.json': '{}',
  'subgraphs/reviews/src/index.ts': "import { database } from '@tributary/postgres';",
  'gateway/package.json': '{}',
  'gateway/src/app.ts':
    "import { run } from './runtime/index.js';\nimport { server } from '@tributary/server';\nexport const app = [run, server];",
  'gateway/src/runtime/index.ts': "export { run } from './pipeline.js';",
  'gateway/src/runtime/pipeline.ts':
    "import { plan } from '../planning/index.js';\n// import { app } from '../app.js';\nexport const run = plan;",
  'gateway/src/planning/index.ts': "export { plan } from './apollo-planner.js';",
  'gateway/src/planning/apollo-planner.ts':
    "import { QueryPlanner } from '@apollo/query-planner';\nexport const plan = 1;",
  'gateway/src/lib/index.ts': 'export const json = 1;',
  'docs/architecture.md': '# How\n\n<!-- structure -->\n<!-- /structure -->\n\nMore.\n',
};

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

function project(changes: Readonly<Record<string, string>> = {}): string {
  const root = mkdtempSync(join(tmpdir(), 'tributary-structure-'));
  folders.push(root);
  for (const [file, text] of Object.entries({ ...SOUND, ...changes })) {
    mkdirSync(dirname(join(root, file)), { recursive: true });
    writeFileSync(join(root, file), text);
  }
  return root;
}

function structure(root: string, ...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [SCRIPT, `--root=${root}`, ...args], {
    encoding: 'utf8',
  });
  return { status, output: stdout + stderr };
}

describe('the import rules', () => {
  test('pass where every import follows the order', () => {
    expect(structure(project(), '--rules')).toEqual({ status: 0, output: '' });
  });

  test.each([
    [
      'a package imports one above it',
      { 'shared/consistency/src/index.ts': "import { database } from '@tributary/postgres';" },
      'shared/consistency/src/index.ts imports @tributary/postgres: consistency may import no package of ours.',
    ],
    [
      'the gateway imports the database',
      { 'gateway/src/runtime/pipeline.ts': "import type { database } from '@tributary/postgres';" },
      'gateway/src/runtime/pipeline.ts imports @tributary/postgres: gateway may import server, consistency, bus.',
    ],
    [
      'packages form a circle',
      {
        'cli/package.json': '{}',
        'cli/src/index.ts': "import '@tributary/reviews';",
        'subgraphs/reviews/src/index.ts': "const later = () => import('@tributary/cli');",
      },
      'cli → reviews → cli is a circle between packages.',
    ],
    [
      'a file inside of a package is imported by name',
      { 'subgraphs/reviews/src/index.ts': "import { database } from '@tributary/postgres/database';" },
      'subgraphs/reviews/src/index.ts imports @tributary/postgres/database, a file inside of a package.',
    ],
    [
      'a file inside of a package is imported by path',
      { 'shared/server/src/index.ts': "export { database } from '../../postgres/src/database.js';" },
      'shared/server/src/index.ts imports ../../postgres/src/database.js, a file outside of its package.',
    ],
    [
      'a folder of the gateway imports one above it',
      { 'gateway/src/planning/plan-cache.ts': "import type { run } from '../runtime/index.js';" },
      'gateway/src/planning/plan-cache.ts imports ../runtime/index.js: planning/ may import',
    ],
    [
      'folders of the gateway form a circle',
      { 'gateway/src/planning/index.ts': "export { run } from '../runtime/index.js';" },
      'is a circle between folders of the gateway.',
    ],
    [
      'a folder imports the file that composes the gateway',
      { 'gateway/src/lib/index.ts': "import { app } from '../app.js';" },
      'gateway/src/lib/index.ts imports ../app.js: lib/ may import',
    ],
    [
      'a file is imported past the index of its folder',
      { 'gateway/src/app.ts': "import { run } from './runtime/pipeline.js';" },
      'gateway/src/app.ts imports ./runtime/pipeline.js past the index.ts of runtime/.\n  To do: export it in gateway/src/runtime/index.ts',
    ],
    [
      'a folder of the gateway is new',
      { 'gateway/src/misc/index.ts': "import { json } from '../lib/index.js';" },
      'gateway/src/misc/index.ts is in misc/, of which no rule says what it may import.\n  To do: add it to FOLDERS in scripts/structure.mjs',
    ],
    [
      "Apollo's planner is imported outside of planning/",
      { 'gateway/src/runtime/pipeline.ts': "import type { QueryPlan } from '@apollo/query-planner';" },
      'gateway/src/runtime/pipeline.ts imports @apollo/query-planner, which is for planning/ only.',
    ],
    [
      "Apollo's gateway is imported outside of supergraph/",
      { 'gateway/src/planning/index.ts': "import { ApolloGateway } from '@apollo/gateway';" },
      'gateway/src/planning/index.ts imports @apollo/gateway, which is for supergraph/ only.',
    ],
  ])('fail when %s', (_, changes, words) => {
    const { status, output } = structure(project(changes as unknown as Record<string, string>), '--rules');
    expect(output).toContain(words);
    expect(output).toContain('To do: ');
    expect(status).toBe(1);
  });
});

describe('the picture', () => {
  test('shows the imports between folders, and is current once it is written', () => {
    const root = project();
    expect(structure(root).output).toContain('  server       → consistency\n');
    expect(structure(root, '--check').output).toBe(
      'The picture in docs/architecture.md is out of date: npm run structure -- --write\n',
    );
    expect(structure(root, '--write')).toEqual({ status: 0, output: '' });
    const page = readFileSync(join(root, 'docs/architecture.md'), 'utf8');
    expect(page).toMatch(
      /^# How\n\n<!-- structure -->\n\n[\s\S]*gateway --> server[\s\S]*\n\n<!-- \/structure -->\n\nMore\.\n$/,
    );
    expect(structure(root, '--check')).toEqual({ status: 0, output: '' });
  });

  test('leaves out arrows that a longer way implies', () => {
    const root = project({ 'gateway/src/runtime/more.ts': "import '@tributary/consistency';" });
    expect(structure(root).output).toContain('gateway --> server');
    expect(structure(root).output).not.toContain('gateway --> consistency');
  });
});

test('the report lists long files and functions, full folders and code that stands twice', () => {
  const lines = Array.from({ length: 12 }, (_, i) => `  step(${i});`).join('\n');
  const text = `export function work() {\n${lines}\n}\n`;
  const root = project({ 'shared/server/src/a.ts': text, 'shared/server/src/b.ts': text.replace('work', 'play') });
  const { status, output } = structure(root, '--report');
  expect(output).toMatch(/Longest files \(lines\)\n +14 {2}shared\/server\/src\/a\.ts\n/);
  expect(output).toMatch(/Longest functions \(lines\)\n +14 {2}work \(shared\/server\/src\/a\.ts:1\)\n/);
  expect(output).toMatch(/Fullest folders \(files\)\n +3 {2}shared\/server\/src\n/);
  expect(output).toMatch(
    /Code that stands twice \(lines\)\n +12 {2}shared\/server\/src\/b\.ts:2 and shared\/server\/src\/a\.ts:2\n/,
  );
  expect(status).toBe(0);
});

test('a wrong option is refused with the usage', () => {
  const { status, output } = structure(project(), '--rule');
  expect(output).toContain("Unknown option '--rule'");
  expect(output).toContain('Usage: npm run structure');
  expect(status).toBe(2);
});

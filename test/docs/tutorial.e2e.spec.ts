import { execFile, execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { freePort } from '@tributary/cli';
import { afterAll, expect, test } from 'vitest';
import { type RunningProgram, runProgram } from '../harness/process.ts';
import { copyProject } from '../harness/project-copy.ts';

// Follows docs/tutorial.md in a copy of the project: creates its files, applies its differences, sends its queries.

const PROJECT = fileURLToPath(new URL('../../', import.meta.url));

/** A fenced block of the page, and the line before it. */
interface Block {
  readonly kind: string;
  readonly text: string;
  /** The file that the line before it names, if it does. */
  readonly file: string | undefined;
}

const sections = readFileSync(join(PROJECT, 'docs/tutorial.md'), 'utf8').split(/^(?=## )/m);

function blocksOf(section: string): Block[] {
  const pattern = /(?:^`(?<file>[^`\n]+)`:\n\n)?^```(?<kind>\w+)\n(?<text>[\s\S]*?)^```$/gm;
  return [...section.matchAll(pattern)].map(({ groups }) => groups as unknown as Block);
}

const copy = copyProject('tutorial');
const ports: Record<string, number> = {};
let stack: RunningProgram | undefined;
afterAll(async () => {
  stack?.kill('SIGINT');
  await stack?.ended;
  rmSync(copy, { recursive: true, force: true });
});

async function restart(): Promise<void> {
  stack?.kill('SIGINT');
  await stack?.ended;
  await promisify(execFile)('npm', ['run', 'build'], { cwd: copy });
  for (const name of ['gateway', 'users', 'products', 'orders', 'reviews']) ports[name] ??= await freePort();
  const options = ['gateway', 'users', 'products', 'orders'].map((name) => `--${name}-port=${ports[name]}`);
  const env = { REVIEWS_PORT: String(ports.reviews) };
  stack = runProgram(
    join(copy, 'cli/bin/tributary.mjs'),
    ['start', '--data-dir', join(copy, '.data'), ...options],
    env,
  );
  await stack.printed(/Tributary is ready/);
}

async function ask(query: string): Promise<{ data: unknown; asked: string[] }> {
  const response = await fetch(`http://localhost:${ports.gateway}/graphql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-explain': '1' },
    body: JSON.stringify({ query }),
  });
  const { data, errors, extensions } = (await response.json()) as {
    data: unknown;
    errors?: unknown;
    extensions: { explanation: { fetches: { subgraph: string }[] } };
  };
  expect(errors).toBeUndefined();
  return { data, asked: extensions.explanation.fetches.map(({ subgraph }) => subgraph) };
}

/** Does what a section says. @returns which services were asked for each answer */
async function follow(section: string): Promise<string[][]> {
  const all: string[][] = [];
  let changed = false;
  let answered: unknown;
  for (const { kind, text, file } of blocksOf(section)) {
    if (kind === 'graphql') {
      if (changed) await restart();
      changed = false;
      const { data, asked } = await ask(text);
      answered = data;
      all.push(asked);
    } else if (kind === 'json' && file === undefined) {
      expect(answered).toEqual(JSON.parse(text));
    } else if (kind === 'diff') {
      writeFileSync(join(copy, 'step.diff'), text);
      execFileSync('git', ['apply', '--whitespace=nowarn', 'step.diff'], { cwd: copy });
      changed = true;
    } else {
      expect(file, `a ${kind} block that is nothing to do:\n${text}`).toBeDefined();
      mkdirSync(dirname(join(copy, file as string)), { recursive: true });
      writeFileSync(join(copy, file as string), text);
      changed = true;
    }
  }
  return all;
}

const section = (name: string) => sections.find((text) => text.startsWith(`## ${name}\n`)) as string;

test('a field is added, and the graph has it', async () => {
  expect(await follow(section('A field'))).toEqual([['products']]);
}, 120_000);

test('a service is added, with a database, events and fields of its own', async () => {
  const asked = await follow(section('A service'));
  expect(asked.map((names) => [...new Set(names)].sort())).toEqual([
    ['reviews'],
    ['products', 'reviews'],
    ['products', 'reviews'],
  ]);
  // Operators' commands include it, and it reports no fault.
  const args = ['dead-letters', 'list', '--data-dir', join(copy, '.data')];
  const { stdout } = await promisify(execFile)(process.execPath, [join(copy, 'cli/bin/tributary.mjs'), ...args]);
  expect(stdout).toContain('There are no dead letters.');
  expect(stack?.output()).not.toMatch(/dead.letters|"level":[45]0/);
}, 120_000);

test('a copy is added: the service answers alone, and follows changes', async () => {
  const [before, change, after] = await follow(section('A copy'));
  expect([before, change]).toEqual([['reviews'], ['products']]);
  // Read too soon, the copy is behind the gateway's watermark, and the gateway also reads from the owner.
  expect(after?.[0]).toBe('reviews');
}, 120_000);

test('what it added passes the format and lint rules of the project', () => {
  const biome = join(PROJECT, 'node_modules/.bin/biome');
  execFileSync(biome, ['ci', '--error-on-warnings', 'subgraphs/reviews', 'subgraphs/products'], { cwd: copy });
});

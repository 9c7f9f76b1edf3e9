import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runProgram } from '../harness/process.ts';
import { copyProject } from '../harness/project-copy.ts';

const PROJECT = fileURLToPath(new URL('../../', import.meta.url));
const copy = copyProject('unbuilt', { built: false });
const { version } = JSON.parse(readFileSync(join(PROJECT, 'package.json'), 'utf8'));

/** A clone after "npm ci": nothing is built, and what the build needs is missing, so that one that is tried fails. */
beforeAll(() => {
  for (const folder of ['shared', 'gateway']) rmSync(join(copy, folder), { recursive: true });
  for (const service of ['users', 'products', 'orders'])
    rmSync(join(copy, 'subgraphs', service, 'src'), { recursive: true });
});
afterAll(() => rmSync(copy, { recursive: true, force: true }));

const tributary = (...args: string[]) => tributaryWith({}, ...args);

async function tributaryWith(env: NodeJS.ProcessEnv, ...args: string[]) {
  const program = runProgram(join(copy, 'cli/bin/tributary.mjs'), args, env);
  return { status: await program.ended, output: program.output() };
}

describe('in a clone that was never built', () => {
  test.each([
    [['--help'], /^Usage: tributary .*\n(?:.*\n)* {2}lag /],
    [['help'], /^Usage: tributary /],
    [['start', '--help'], /^Usage: tributary start .*\n(?:.*\n)* {2}--fresh /],
    [['dev', '--help'], /^Usage: tributary dev .*\n(?:.*\n)* {2}--gateway-port /],
    [['help', 'lag'], /^Usage: tributary lag /],
    [['help', 'sagas', 'retry'], /^Usage: tributary sagas retry \[options\] <order>\n/],
    [['sagas', 'help', 'retry'], /^Usage: tributary sagas retry /],
    [['--version'], new RegExp(`^${version}\n$`)],
  ])('%j answers without building anything', async (args, words) => {
    const { status, output } = await tributary(...args);
    expect(output).toMatch(words);
    expect(output).not.toContain('Building');
    expect(status).toBe(0);
    expect(existsSync(join(copy, 'cli/dist'))).toBe(false);
  });

  test.each([
    [['help', 'nothing'], "error: unknown command 'nothing'"],
    [['start', '--gateway-port=70000'], '--gateway-port: expected a port, 0-65535; got "70000"\n'],
    [['lag', `--data-dir=${copy}`], `No stack runs on the data folder ${copy}.\nStart it, or set USERS_URL, `],
    [['dead-letters', 'list', `--data-dir=${copy}`], `No stack runs on the data folder ${copy}.\n`],
    [['rebuild', 'nothing'], 'model: expected one of orders, products, users; got "nothing"\n'],
    [['dead-letters', 'discard', 'orders', 'users', '0'], 'position: expected a whole number above 0; got "0"\n'],
  ])('%j is refused without building anything', async (args, words) => {
    const { status, output } = await tributary(...args);
    expect(output).toContain(words);
    expect(output).not.toContain('Building');
    expect(status).toBe(1);
  });

  test.each([[['start']], [['token', 'CG-12520']]])('%j says that it builds', async (args) => {
    const { status, output } = await tributary(...args);
    expect(output).toMatch(/^Building \(once, about 20 s\) …\n/);
    expect(output).not.toMatch(/ {4}at /);
    expect(status).toBe(1);
  });
});

describe('any folder in subgraphs/ is a service, also before it is built', () => {
  const added = { 'gift-cards': { tributary: { port: 4010 } }, reviews: {} };
  beforeAll(() => {
    for (const [name, manifest] of Object.entries(added)) {
      mkdirSync(join(copy, 'subgraphs', name));
      writeFileSync(join(copy, 'subgraphs', name, 'package.json'), JSON.stringify(manifest));
    }
  });
  afterAll(() => {
    for (const name of Object.keys(added)) rmSync(join(copy, 'subgraphs', name), { recursive: true });
  });

  test('--help has an option for its port, with the default that its package.json declares', async () => {
    const { output } = await tributary('start', '--help');
    const words = output.replace(/\s+/g, ' ');
    expect(words).toContain(
      '--gift-cards-port <port> port of gift-cards (0: a free one) (default: 4010, env: GIFT_CARDS_PORT)',
    );
    expect(words).toContain('--reviews-port <port> port of reviews (0: a free one) (env: REVIEWS_PORT)');
  });

  test('its port is checked, in the option and in the variable', async () => {
    const env = { GIFT_CARDS_PORT: 'x' };
    const { status, output } = await tributaryWith(env, 'start', '--reviews-port=-1');
    expect(output).toContain('GIFT_CARDS_PORT (--gift-cards-port): expected a port, 0-65535; got "x"\n');
    expect(output).toContain('--reviews-port: expected a port, 0-65535; got "-1"\n');
    expect(status).toBe(1);
  });

  test("the operators' commands name its variables, and rebuild takes its name", async () => {
    const { output } = await tributary('lag', `--data-dir=${copy}`);
    expect(output).toContain(
      'set USERS_URL, PRODUCTS_URL, ORDERS_URL, GIFT_CARDS_URL, REVIEWS_URL, USERS_DATABASE_URL, ',
    );
    expect((await tributary('rebuild', '--help')).output.replace(/\s+/g, ' ')).toContain(
      'gift-cards, orders, products, reviews, users:',
    );
  });
});

test('a build of an older release is brought up to date, before commands that write and where a command is missing', async () => {
  mkdirSync(join(copy, 'cli/dist'), { recursive: true });
  const services = ['USERS', 'PRODUCTS', 'ORDERS'];
  const stack = services.flatMap((name) => [
    [`${name}_URL`, 'http://localhost:1'],
    [`${name}_DATABASE_URL`, 'postgres://localhost:1/none'],
  ]);
  for (const name of ['start.js', 'rebuild.js']) {
    writeFileSync(join(copy, 'cli/dist', name), "export const rebuild = () => console.log('by old rules');");
  }
  // The build fails here, and says so.
  for (const args of [['lag'], ['rebuild', 'users']]) {
    const { status, output } = await tributaryWith(Object.fromEntries(stack), ...args);
    expect(output).not.toMatch(/ERR_MODULE_NOT_FOUND| {4}at |old rules/);
    expect(output).toContain('build');
    expect(status).toBe(1);
  }
  rmSync(join(copy, 'cli/dist'), { recursive: true });
});

test('without dependencies it says how to install them', async () => {
  const bare = mkdtempSync(join(tmpdir(), 'tributary-bare-'));
  cpSync(join(PROJECT, 'cli/bin'), join(bare, 'cli/bin'), { recursive: true });
  cpSync(join(PROJECT, 'package.json'), join(bare, 'package.json'));
  const program = runProgram(join(bare, 'cli/bin/tributary.mjs'), ['start']);
  expect(await program.ended).toBe(1);
  expect(program.output()).toBe('The dependencies of Tributary are not installed: run "npm ci" first.\n');
  rmSync(bare, { recursive: true, force: true });
});

import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';
import { preload } from '../../test/harness/preload.ts';
import { runProgram } from '../../test/harness/process.ts';

const root = mkdtempSync(join(tmpdir(), 'tributary-folders-'));
const children: ChildProcess[] = [];
afterAll(() => {
  for (const child of children) child.kill('SIGKILL');
  rmSync(root, { recursive: true, force: true });
});

const PORTS = ['--gateway-port=0', '--users-port=0', '--products-port=0', '--orders-port=0'];

async function start(dataDir: string, ...args: string[]) {
  const program = runProgram('cli/bin/tributary.mjs', ['start', `--data-dir=${dataDir}`, ...PORTS, ...args]);
  return { status: await program.ended, output: program.output() };
}

/** Everything below a folder, with the content of files. */
function contentOf(folder: string): Record<string, string> {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  return Object.fromEntries(
    entries.map((entry) => {
      const path = join(entry.parentPath, entry.name);
      return [path, entry.isFile() ? readFileSync(path, 'utf8') : '-'];
    }),
  );
}

describe('a folder that cannot be used is refused in one line, and stays as it is', () => {
  const holding = (name: string, files: Record<string, string>) => {
    const folder = join(root, name);
    for (const [file, text] of Object.entries(files)) {
      mkdirSync(join(folder, file, '..'), { recursive: true });
      writeFileSync(join(folder, file), text);
    }
    return folder;
  };
  const foreign = 'expected a new or empty folder, or one with data of Tributary; got';
  const unusable = 'expected a folder that can be written; got';
  writeFileSync(join(root, 'a-file'), 'text');
  symlinkSync(join(root, 'gone', 'away'), join(root, 'dangling'));
  const cases: [string, string, string][] = [
    [
      'somebody’s work',
      holding('work', { 'thesis.txt': 'ten years' }),
      `${foreign} ${root}/work, which holds thesis.txt`,
    ],
    ['another PostgreSQL', holding('database', { 'postgres/PG_VERSION': '18' }), `${foreign} ${root}/database, which`],
    ['other secrets', holding('secrets', { 'secrets.json': '{"token":"x"}' }), `${foreign} ${root}/secrets, which`],
    [
      'somebody’s work among the files of PostgreSQL',
      holding('cluster', {
        'tributary.txt': '',
        'postgres/PG_VERSION': '18',
        'postgres/base/1/2': 'rows',
        'postgres/thesis.txt': 'ten years',
      }),
      `expected only files of PostgreSQL in ${root}/cluster/postgres, which --fresh deletes; got thesis.txt. Move that`,
    ],
    ['a file', join(root, 'a-file'), `${unusable} ${root}/a-file (it is a file)`],
    ['below a file', join(root, 'a-file', 'x', 'y'), `${unusable} ${root}/a-file/x/y (a part of the path is a file)`],
    ['a dangling link', join(root, 'dangling'), `${unusable} ${root}/dangling (it cannot be created)`],
    ['too long a name', join(root, 'new', 'n'.repeat(300)), '(it is too long)'],
    ...(process.platform === 'linux'
      ? ([['in /proc', '/proc/tributary/data', `${unusable} /proc/tributary/data (it cannot be created)`]] as [
          string,
          string,
          string,
        ][])
      : []),
  ];

  test.each(cases)('%s', async (_, folder, words) => {
    const before = contentOf(root);
    const { status, output } = await start(folder, '--fresh');
    expect(output).toContain(`--data-dir: ${words.startsWith('(') ? unusable : ''}`);
    expect(output).toContain(words);
    // Some faults show only when the folder is created: they come without a list.
    expect(
      output
        .replace(/^Invalid settings:\n {2}/, '')
        .trimEnd()
        .split('\n'),
    ).toHaveLength(1);
    expect(status).toBe(1);
    expect(contentOf(root)).toEqual(before);
  });
});

describe('a folder whose PostgreSQL cannot be started says what to do', () => {
  const damaged = (name: string, change: (folder: string) => void) => {
    const folder = join(root, name);
    mkdirSync(join(folder, 'postgres'), { recursive: true });
    // As an earlier release left it, without a mark.
    writeFileSync(join(folder, 'secrets.json'), '{"postgres":"a","tokens":"b","internal":"c"}');
    writeFileSync(join(folder, 'postgres/PG_VERSION'), '18\n');
    change(folder);
    return folder;
  };

  test.each([
    [
      'another version',
      damaged('seventeen', (folder) => writeFileSync(join(folder, 'postgres/PG_VERSION'), '17\n')),
      /postgres was written by PostgreSQL 17, and this release has PostgreSQL 18: run the release that wrote it, or import anew with --fresh\.$/,
    ],
    [
      'no version',
      damaged('versionless', (folder) => rmSync(join(folder, 'postgres/PG_VERSION'))),
      /is damaged: it has no PG_VERSION\. .* restore the data folder from a backup, or import anew with --fresh\.$/,
    ],
    [
      'missing files',
      damaged('hollow', () => undefined),
      /^PostgreSQL did not start: .*postgres\.log\)\. .* restore the data folder from a backup, or import anew with --fresh\.$/,
    ],
    [
      'lost passwords',
      damaged('locked-out', (folder) => {
        writeFileSync(join(folder, 'tributary.txt'), '');
        rmSync(join(folder, 'secrets.json'));
      }),
      /secrets\.json is missing or damaged, .* restore it from a backup, or import anew with --fresh\.$/,
    ],
  ])('%s', async (_, folder, words) => {
    const { status, output } = await start(folder);
    expect(output.trimEnd()).toMatch(words);
    expect(output.trimEnd().split('\n')).toHaveLength(1);
    expect(status).toBe(1);
    expect(existsSync(join(folder, 'postgres'))).toBe(true);
  });
});

type Answer = { pid: number; taken: boolean; message?: string };
async function spawnTaker(env: NodeJS.ProcessEnv = {}): Promise<ChildProcess> {
  const entry = fileURLToPath(new URL('take-folder.mjs', import.meta.url));
  const child = fork(entry, { execArgv: [], env: { ...process.env, ...env } });
  children.push(child);
  await once(child, 'message');
  return child;
}
async function order(child: ChildProcess, message: { take: string } | { release: true }): Promise<Answer> {
  const answer = once(child, 'message');
  child.send(message);
  return (await answer)[0] as Answer;
}

test('what the system puts into a folder, such as a mounted volume, is nobody’s work', async () => {
  const volume = join(root, 'volume');
  mkdirSync(join(volume, 'lost+found'), { recursive: true });
  writeFileSync(join(volume, '.DS_Store'), '');
  expect(await order(await spawnTaker(), { take: volume })).toMatchObject({ taken: true });
});

test('without /proc, as on macOS, a lock holds in every time zone, and none is taken without "ps"', async () => {
  const elsewhere = preload("Object.defineProperty(process, 'platform', { value: 'darwin' });");
  const folder = join(root, 'zones');
  const [first, second, third] = await Promise.all([
    spawnTaker({ ...elsewhere, TZ: 'Asia/Tokyo' }),
    spawnTaker({ ...elsewhere, TZ: 'America/Lima' }),
    spawnTaker({ ...elsewhere, PATH: '/nowhere' }),
  ]);
  expect(await order(first, { take: folder })).toMatchObject({ taken: true });
  expect(await order(second, { take: folder })).toMatchObject({
    taken: false,
    message: expect.stringContaining(`Another stack (process ${first.pid}) uses the data folder`),
  });
  expect(await order(third, { take: join(root, 'nameless') })).toMatchObject({
    taken: false,
    message: expect.stringContaining('cannot be locked: neither /proc nor the program "ps" shows'),
  });
});

describe('of ten processes that take a folder at the same time, one gets it', () => {
  const PROCESSES = 10;

  test('new, released, and left behind by a killed process', { timeout: 60_000 }, async () => {
    const takers = await Promise.all(Array.from({ length: PROCESSES }, () => spawnTaker()));
    const left = join(root, 'left');
    const killed = await spawnTaker();
    expect((await order(killed, { take: left })).taken).toBe(true);
    killed.kill('SIGKILL');
    await once(killed, 'exit');

    for (let round = 0; round < 150; round++) {
      const name = ['new', 'again', 'left'][round % 3] as string;
      const folder = name === 'again' ? join(root, name) : join(root, `${name}-${round}`, 'data');
      if (name === 'left') cpSync(left, folder, { recursive: true, verbatimSymlinks: true });
      const answers = await Promise.all(takers.map((child) => order(child, { take: folder })));
      const owners = answers.filter(({ taken }) => taken);
      expect(owners, JSON.stringify(answers)).toHaveLength(1);
      const refusal = `Another stack (process ${owners[0]?.pid}) uses the data folder ${folder}. Stop it, or choose another folder with --data-dir.`;
      const others = answers.filter(({ taken }) => !taken);
      expect(others.map(({ message }) => message)).toEqual(others.map(() => refusal));
      await Promise.all(takers.map((child) => order(child, { release: true })));
    }
  });
});

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { z } from 'zod';
import {
  type ConfigurationError,
  databaseUrl,
  duration,
  listSetting,
  logLevel,
  port,
  readEnvironment,
} from './environment.js';
import { misspelledVariables } from './variables.js';

const shape = { SERVICE_PORT: port(4001), DATABASE_URL: databaseUrl, TIMEOUT: duration('5s') };

test('presets fill what is not set, and times become milliseconds', () => {
  const config = readEnvironment(shape, { DATABASE_URL: 'postgres://a@b/c', TIMEOUT: '1.5s', SERVICE_PORT: '' });
  expect(config).toEqual({ SERVICE_PORT: 4001, DATABASE_URL: 'postgres://a@b/c', TIMEOUT: 1500 });
});

test('a secret may come from a file', () => {
  const file = join(mkdtempSync(join(tmpdir(), 'tributary-env-')), 'url');
  writeFileSync(file, 'postgres://from@file/db\n');
  expect(readEnvironment(shape, { DATABASE_URL_FILE: file }).DATABASE_URL).toBe('postgres://from@file/db');
});

test('every problem is reported at once, in one form, and no secret is shown', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tributary-env-'));
  const empty = join(folder, 'empty');
  writeFileSync(empty, '\n');
  const all = { ...shape, LEVEL: logLevel, ORIGINS: listSetting('words', () => undefined, ''), A: port(1), B: port(1) };
  const given = {
    SERVICE_PORT: 'forty',
    DATABASE_URL: 'mysql://root:hunter2@db',
    TIMEOUT: '5',
    LEVEL: 'x'.repeat(1000),
    ORIGINS: 'a, http://u:hunter3@h',
    A_FILE: folder,
    B_FILE: empty,
    C_FILE: 'not read',
  };
  expect(problemsOf(all, given)).toEqual([
    `A_FILE: expected a file that holds the value; got "${folder}" (it is a folder)`,
    `B_FILE: expected a file that holds the value; got "${empty}" (it is empty)`,
    'SERVICE_PORT: expected a port, 0-65535; got "forty"',
    'DATABASE_URL: expected a URL such as postgres://role:password@host:5432/database; got a value that is not shown',
    'TIMEOUT: expected a duration such as 5s or 250ms; got "5"',
    `LEVEL: expected one of fatal, error, warn, info, debug, trace, silent; got "${'x'.repeat(60)}…"`,
    // Commas may stand in a password, too.
    'ORIGINS: expected words; got a value that is not shown',
    'ORIGINS: expected words; got a value that is not shown',
  ]);
  expect(
    problemsOf(
      { LIST: all.ORIGINS, DATABASE_URL: databaseUrl, A: port(1) },
      {
        LIST: 'a, b',
        DATABASE_URL_FILE: 'hunter4',
        A_FILE: 'postgres://u:hunter5@h/d',
      },
    ),
  ).toEqual([
    'DATABASE_URL_FILE: expected a file that holds the value; got a path that is not shown (no such file or folder)',
    'A_FILE: expected a file that holds the value; got a path that is not shown (no such file or folder)',
    'LIST: expected words; got "a"',
    'LIST: expected words; got "b"',
  ]);
  expect(problemsOf(shape, { DATABASE_URL_FILE: folder })).toEqual([
    `DATABASE_URL_FILE: expected a file that holds the value; got "${folder}" (it is a folder)`,
  ]);
  expect(problemsOf(shape, {})).toEqual([
    'DATABASE_URL: expected a URL such as postgres://role:password@host:5432/database; it is not set',
  ]);
  rmSync(folder, { recursive: true });
});

test.each(['5', '0.5', '-1s', '5 s', '5S', '1e3ms', '', ' ', 'Infinity', '1w', '25d', '0ms', '61m', '.5s', '٣s'])(
  'a duration of "%s" is refused',
  (text) => {
    const read = () => readEnvironment({ LIMIT: duration(undefined, { min: '1ms', max: '1h' }) }, { LIMIT: text });
    expect(read).toThrow(/^invalid settings\n {2}LIMIT: expected a duration /);
  },
);

test('a duration has a unit; only 0 needs none', () => {
  const read = (LIMIT: string) => readEnvironment({ LIMIT: duration('1s') }, { LIMIT }).LIMIT;
  expect(['0', '0s', '250ms', '1.5s', '2m', '1h', '20d'].map(read)).toEqual([
    0, 0, 250, 1500, 120_000, 3_600_000, 1_728_000_000,
  ]);
});

test('a variable that is read in place of another one is named when it is wrong', () => {
  const read = (env: NodeJS.ProcessEnv) => () => readEnvironment(shape, env, { aliases: { SERVICE_PORT: 'PORT' } });
  const DATABASE_URL = 'postgres://a@b/c';
  expect(read({ DATABASE_URL, PORT: '80' })().SERVICE_PORT).toBe(80);
  expect(read({ DATABASE_URL, PORT: 'no', SERVICE_PORT: '81' })().SERVICE_PORT).toBe(81);
  expect(read({ DATABASE_URL, PORT: 'no' })).toThrow(/^invalid settings\n {2}PORT: expected a port/);
});

test('a setting is also read from its former name, unless it is set itself', () => {
  const renamed = { WAIT: duration('1s').meta({ formerly: 'PATIENCE' }) };
  expect(readEnvironment(renamed, { PATIENCE: '2s' })).toEqual({ WAIT: 2000 });
  expect(readEnvironment(renamed, { PATIENCE: '2s', WAIT: '3s' })).toEqual({ WAIT: 3000 });
  expect(problemsOf(renamed, { PATIENCE: '2' })).toEqual([
    'PATIENCE: expected a duration such as 5s or 250ms; got "2"',
  ]);
  expect(misspelledVariables(renamed, { PATIENCE: '2s', PATIENCES: '2s' })).toEqual([]);
});

test('a misspelled variable is noticed when it differs by one slip', () => {
  const names = (env: NodeJS.ProcessEnv) => misspelledVariables(shape, env).map(({ given }) => given);
  expect(names({ SERVICE_PROT: '1', SERVCE_PORT: '1', SERVICE_PORTS: '1', DATABASE_URL_FILES: '1' })).toHaveLength(4);
  expect(names({ SERVICE_PORT: '1', SERVICE_HOST: '1', TIMEOUTS: '1', TIMEOU: '1', PATH: '1' })).toEqual(['TIMEOUTS']);
});

function problemsOf(all: z.ZodRawShape, env: NodeJS.ProcessEnv): readonly string[] {
  try {
    readEnvironment(all, env);
    return [];
  } catch (error) {
    return (error as ConfigurationError).problems.map(({ setting, problem }) => `${setting}: ${problem}`);
  }
}

import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { databaseUrl, duration, port, readEnvironment } from './environment.js';

const shape = { SERVICE_PORT: port(4001), DATABASE_URL: databaseUrl, TIMEOUT: duration('5s') };

test('presets fill what is not set, and times become milliseconds', () => {
  const config = readEnvironment(shape, { DATABASE_URL: 'postgres://a@b/c', TIMEOUT: '1.5s', SERVICE_PORT: '' });
  expect(config).toEqual({ SERVICE_PORT: 4001, DATABASE_URL: 'postgres://a@b/c', TIMEOUT: 1500 });
});

test('a secret may come from a file', () => {
  const file = join(mkdtempSync(join(tmpdir(), 'tributary-env-')), 'url');
  writeFileSync(file, 'postgres://from@file/db\n');
  expect(readEnvironment(shape, { DATABASE_URL_FILE: file }).DATABASE_URL).toBe('postgres://from@file/db');
  expect(() => readEnvironment(shape, { DATABASE_URL_FILE: `${file}.missing` })).toThrow(
    /DATABASE_URL_FILE: cannot read/,
  );
});

test('every fault is named, and no value is shown', () => {
  const read = () =>
    readEnvironment(shape, { SERVICE_PORT: 'forty', DATABASE_URL: 'mysql://root:hunter2@db', TIMEOUT: 'soon' });
  expect(read).toThrow(/SERVICE_PORT: wants a port number/);
  expect(read).toThrow(/DATABASE_URL: wants a URL/);
  expect(read).toThrow(/TIMEOUT: wants a time/);
  expect(read).not.toThrow(/hunter2/);
  expect(() => readEnvironment(shape, {})).toThrow(/DATABASE_URL is not set/);
});

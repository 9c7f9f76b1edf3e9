import cluster from 'node:cluster';
import { existsSync, readFileSync } from 'node:fs';
import { z } from 'zod';
import { fileProblem } from './file-problem.js';

/** Why a program cannot start with a setting. */
export interface SettingProblem {
  /** Its environment variable. */
  readonly setting: string;
  /** What was expected, and what was given: `expected a duration such as 5s or 250ms; got "5"`. */
  readonly problem: string;
}

/** What the person who starts a program can put right; its message is printed without a stack trace. */
export class ConfigurationError extends Error {
  override readonly name = 'ConfigurationError';
  /** The settings at fault; empty when something else is. */
  readonly problems: readonly SettingProblem[];

  constructor(message: string, problems: readonly SettingProblem[] = []) {
    super(message);
    this.problems = problems;
  }
}

/** The text of each setting that is given, by name. */
export type GivenSettings = Readonly<Record<string, string>>;

export interface ReadOptions {
  /** Other variables that are read for a setting that is not given: `{ GATEWAY_PORT: 'PORT' }`. */
  readonly aliases?: Readonly<Record<string, string>>;
  /** Finds problems of settings that are correct each, but not together. */
  readonly check?: (given: GivenSettings) => readonly SettingProblem[];
}

/**
 * Reads and checks configuration, once, at start.
 *
 * Each variable may also be given as `<NAME>_FILE`, the path of a file that holds the value (for secrets).
 * An empty variable counts as not set. Secrets are never part of an error message.
 * A setting with `.meta({ formerly: 'OLD_NAME' })` is also read from its former name; a warning on standard error says so, once.
 *
 * @example
 * ```ts
 * import assert from 'node:assert/strict';
 * import { databaseUrl, port, readEnvironment } from '@tributary/server';
 *
 * const settings = { USERS_PORT: port(4001), USERS_DATABASE_URL: databaseUrl };
 * const config = readEnvironment(settings, { USERS_DATABASE_URL: 'postgres://users:secret@db:5432/users' });
 * assert.equal(config.USERS_PORT, 4001);
 * ```
 * @throws ConfigurationError that has every problem of every setting
 */
export function readEnvironment<Shape extends z.ZodRawShape>(
  shape: Shape,
  env: NodeJS.ProcessEnv = process.env,
  { aliases = {}, check = () => [] }: ReadOptions = {},
): z.infer<z.ZodObject<Shape>> {
  const given: Record<string, string> = {};
  const sources: Record<string, string> = {};
  const problems: SettingProblem[] = [];
  const unreadable = new Set<string>();
  for (const [name, schema] of Object.entries(shape)) {
    const isGiven = (variable: string) => Boolean(env[variable] || env[`${variable}_FILE`]);
    const former = formerNameOf(schema as z.ZodType);
    if (former && isGiven(former)) warnOfFormerName(former, name, isGiven(name));
    const source = [name, former, aliases[name]].find((variable) => variable && isGiven(variable)) ?? name;
    sources[name] = source;
    try {
      const value = env[source] || readValueFile(env[`${source}_FILE`], name);
      if (value) given[name] = value;
    } catch (error) {
      unreadable.add(name);
      problems.push({ setting: `${source}_FILE`, problem: (error as Error).message });
    }
  }
  const result = z.object(shape).safeParse(given);
  for (const issue of result.error?.issues ?? []) {
    const name = String(issue.path[0]);
    if (!unreadable.has(name))
      problems.push({ setting: sources[name] ?? name, problem: describe(issue.message, name, given[name]) });
  }
  problems.push(...check(given));
  if (result.success && problems.length === 0) return result.data;
  const lines = problems.map(({ setting, problem }) => `  ${setting}: ${problem}`);
  throw new ConfigurationError(`invalid settings\n${lines.join('\n')}`, problems);
}

/** The name that a setting had in an earlier release: `.meta({ formerly: 'OLD_NAME' })`. */
export function formerNameOf(schema: z.ZodType): string | undefined {
  return schema.meta()?.formerly as string | undefined;
}

const warnedOf = new Set<string>();

/** Worker processes stay silent, as the process that started them has printed the warning. */
function warnOfFormerName(former: string, name: string, isIgnored: boolean): void {
  if (warnedOf.has(former) || cluster.isWorker) return;
  warnedOf.add(former);
  const effect = isIgnored ? `both are set, and ${former} is ignored` : 'the former name still works';
  process.stderr.write(`warning: ${former} is now named ${name}; ${effect}\n`);
}

function describe(expected: string, name: string, value: string | undefined): string {
  if (value === undefined) return `${expected}; it is not set`;
  return expected.includes('; got ') ? expected : `${expected}; ${got(value, name)}`;
}

const SECRET_NAME = /(SECRET|TOKEN|PASSWORD|DATABASE_URL)$/;
/** Where a value of any setting may hold credentials: in URLs, before "@" or in the query. */
const SECRET_VALUE = /@|[?&]\w*(password|secret|token)\w*=/i;
const SHOWN_LENGTH = 60;

const mayBeSecret = (value: string, setting = '') => SECRET_NAME.test(setting) || SECRET_VALUE.test(value);

/**
 * What was given, for a message: in quotes and on one line, long text cut; or nothing of it where it may be secret.
 *
 * @param whole what it is a part of
 */
export function got(value: string, setting = '', whole = value): string {
  if (mayBeSecret(whole, setting)) return 'got a value that is not shown';
  return `got ${JSON.stringify(value.length > SHOWN_LENGTH ? `${value.slice(0, SHOWN_LENGTH)}…` : value)}`;
}

/** The path that was given, which is no secret and is of use only as a whole. */
export const gotPath = (path: string): string => `got ${JSON.stringify(path)}`;

/** @throws Error when the file does not hold a value */
function readValueFile(path: string | undefined, setting: string): string | undefined {
  if (!path) return undefined;
  let value: string;
  try {
    value = readFileSync(path, 'utf8').trim();
  } catch (error) {
    // What is no path may be the secret itself.
    const given = mayBeSecret(path, setting) && !existsSync(path) ? 'got a path that is not shown' : gotPath(path);
    throw new Error(`expected a file that holds the value; ${given} (${fileProblem(error)})`);
  }
  if (value === '') throw new Error(`expected a file that holds the value; ${gotPath(path)} (it is empty)`);
  return value;
}

/**
 * A setting whose text is turned into a value.
 *
 * @param expected what the text must be: `a port, 0-65535`
 * @param parse gives undefined for a text that is not that
 * @param preset the text when none is given; without it the setting is required
 */
export function setting<Value>(expected: string, parse: (text: string) => Value | undefined, preset?: string) {
  return textSetting(expected, preset).transform((text, context): Value => {
    const value = parse(text);
    if (value !== undefined) return value;
    context.addIssue(`expected ${expected}`);
    return z.NEVER;
  });
}

function textSetting(expected: string, preset: string | undefined): z.ZodType<string> {
  return preset === undefined ? z.string(`expected ${expected}`) : z.string().default(preset);
}

/**
 * A setting of several entries, with commas. Blank entries are ignored.
 *
 * @param expected what an entry must be: `an origin such as https://shop.example`
 * @param parse gives undefined for an entry that is not that, or says what else is wrong
 * @param preset the text when none is given; without it the setting is required
 */
export function listSetting<Value>(
  expected: string,
  parse: (entry: string, before: readonly Value[]) => Value | undefined | { readonly problem: string },
  preset?: string,
) {
  return textSetting(expected, preset).transform((text, context): Value[] => {
    const entries = text.split(',').flatMap((entry) => entry.trim() || []);
    const values: Value[] = [];
    for (const entry of entries) {
      const value = parse(entry, values);
      if (value === undefined) context.addIssue(`expected ${expected}; ${got(entry, '', text)}`);
      else if (isProblem(value)) context.addIssue(`${value.problem}; ${got(entry, '', text)}`);
      else values.push(value);
    }
    if (entries.length === 0 && preset !== '') context.addIssue(`expected ${expected}`);
    return values;
  });
}

function isProblem(value: unknown): value is { readonly problem: string } {
  return typeof value === 'object' && value !== null && 'problem' in value;
}

/** A TCP port; 0 lets the system pick a free one. */
export const port = (preset: number) => count(preset, { max: 65_535, expected: 'a port, 0-65535' });

interface CountOptions {
  readonly max?: number;
  readonly expected?: string;
}

/** A whole number, 0 or more. */
export const count = (
  preset: number,
  { max = Number.MAX_SAFE_INTEGER, expected = 'a whole number, 0 or more' }: CountOptions = {},
) =>
  setting(
    expected,
    (text) => (/^\d{1,16}$/.test(text) && Number(text) <= max ? Number(text) : undefined),
    String(preset),
  );

/** One of some words. */
export const oneOf = <const Word extends string>(words: readonly Word[], preset: NoInfer<Word>) =>
  setting(`one of ${words.join(', ')}`, (text) => words.find((word) => word === text), preset);

/** In code: a boolean. */
export const onOff = (preset?: 'on' | 'off') =>
  setting('"on" or "off"', (text) => ({ on: true, off: false })[text], preset);

/** The interface to listen on; "localhost" keeps a developer's machine closed to the network. */
export const host = setting(
  'an address or a name of this machine',
  (text) => (/^[\w.:%-]+$/.test(text) ? text : undefined),
  'localhost',
);

export const logLevel = oneOf(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'], 'info');

/** Text with a minimal length: a secret. */
export const secret = (minLength: number) =>
  setting(`at least ${minLength} characters`, (text) => (text.length >= minLength ? text : undefined)).optional();

/** A URL of one of the schemes: `urlSetting(['http', 'https'], 'http://localhost:4001')`. */
export const urlSetting = (schemes: readonly string[], example: string, preset?: string) =>
  setting(`a URL such as ${example}`, (text) => (isUrl(text, schemes) ? text : undefined), preset);

/** Whether it is a URL with a host and one of the schemes. */
export function isUrl(text: string, schemes: readonly string[]): boolean {
  if (/\s/.test(text) || !schemes.some((scheme) => text.toLowerCase().startsWith(`${scheme}://`))) return false;
  try {
    decodeURIComponent(new URL(text).username + new URL(text).password);
    return true;
  } catch {
    return false;
  }
}

/** Where another service of ours answers; on this machine unless set. */
export const serviceUrl = (port: number) =>
  urlSetting(['http', 'https'], `http://localhost:${port}`, `http://localhost:${port}`);

/** `postgres://role:password@host:port/database` */
export const databaseUrl = urlSetting(['postgres', 'postgresql'], 'postgres://role:password@host:5432/database');

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

export interface DurationBounds {
  /** `1ms`; default 0. */
  readonly min?: string;
  /** `10m`; default 24 days, as Node's timers cannot wait for 25. */
  readonly max?: string;
}

/**
 * A duration such as `250ms`, `5s`, `2m`, `1h` or `30d`; only `0` needs no unit. In code: milliseconds.
 *
 * @param preset without it the setting is required
 */
export function duration(preset?: string, { min = '0', max = '24d' }: DurationBounds = {}) {
  const expected = 'a duration such as 5s or 250ms';
  return textSetting(expected, preset).transform((text, context): number => {
    const ms = milliseconds(text);
    if (ms >= milliseconds(min) && ms <= milliseconds(max)) return ms;
    context.addIssue(Number.isNaN(ms) ? `expected ${expected}` : `expected a duration from ${min} to ${max}`);
    return z.NEVER;
  });
}

/** NaN for what is not a duration. */
function milliseconds(text: string): number {
  if (text === '0') return 0;
  const [, value = '', unit = ''] = /^(\d{1,9}(?:\.\d{1,9})?)(ms|s|m|h|d)$/.exec(text) ?? [];
  return Number.parseFloat(value) * (UNITS[unit] ?? Number.NaN);
}

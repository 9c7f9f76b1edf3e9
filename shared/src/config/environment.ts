import { readFileSync } from 'node:fs';
import { z } from 'zod';

/** The environment does not fit what a program needs; the message names every variable at fault. */
export class ConfigurationError extends Error {
  override readonly name = 'ConfigurationError';
}

/**
 * Reads and checks configuration, once, at start.
 *
 * Each variable may also be given as `<NAME>_FILE`, the path of a file that holds the value (for secrets).
 * An empty variable counts as not set. Values are never part of an error message.
 *
 * @example
 * const config = readEnvironment({ USERS_PORT: port(4001), USERS_DATABASE_URL: databaseUrl });
 * @throws ConfigurationError
 */
export function readEnvironment<Shape extends z.ZodRawShape>(
  shape: Shape,
  env: NodeJS.ProcessEnv = process.env,
): z.infer<z.ZodObject<Shape>> {
  const given: Record<string, string> = {};
  for (const name of Object.keys(shape)) {
    const value = env[name] || readSecretFile(name, env[`${name}_FILE`]);
    if (value) given[name] = value;
  }
  const result = z.object(shape).safeParse(given);
  if (result.success) return result.data;
  const faults = result.error.issues.map((issue) => {
    const name = issue.path.join('.');
    return given[name] === undefined ? `  ${name} is not set` : `  ${name}: ${issue.message}`;
  });
  throw new ConfigurationError(`The configuration does not fit:\n${faults.join('\n')}`);
}

function readSecretFile(name: string, path: string | undefined): string | undefined {
  if (!path) return undefined;
  try {
    return readFileSync(path, 'utf8').trim();
  } catch (error) {
    throw new ConfigurationError(`${name}_FILE: cannot read ${path} (${(error as NodeJS.ErrnoException).code}).`);
  }
}

/** A TCP port; 0 lets the system pick a free one. */
export const port = (preset: number) =>
  z.coerce.number('wants a port number').int('wants a whole number').min(0).max(65_535).default(preset);

/** The interface to listen on; "localhost" keeps a developer's machine closed to the network. */
export const host = z.string().default('localhost');

export const logLevel = z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']).default('info');

/** Where another service of ours answers; on this machine unless set. */
export const serviceUrl = (port: number) => z.url('wants a URL').default(`http://localhost:${port}`);

/** `postgres://role:password@host:port/database` */
export const databaseUrl = z
  .string()
  .regex(/^postgres(ql)?:\/\//, 'wants a URL: postgres://role:password@host:port/database');

/** A time such as `250ms`, `5s`, `2m`, or a bare number of milliseconds. In code: milliseconds. */
export const duration = (preset: string) =>
  z
    .string()
    .regex(/^\d+(\.\d+)?(ms|s|m|h)?$/, 'wants a time such as 250ms, 5s or 2m')
    .default(preset)
    .transform((text) => {
      const [, value, unit] = /^([\d.]+)(\D*)$/.exec(text) ?? [];
      const factor = { '': 1, ms: 1, s: 1000, m: 60_000, h: 3_600_000 }[unit ?? ''] ?? 1;
      return Number(value) * factor;
    });

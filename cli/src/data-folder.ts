import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import { identifyProcess } from './process-identity.js';
import { UserError } from './user-error.js';

const SECRETS = 'secrets.json';
const OWNER = 'owner.json';

const secretsSchema = z
  .object({
    postgres: z.string(),
    tokens: z.string(),
    internal: z.string(),
  })
  .catchall(z.string());

/**
 * Passwords of the local database roles (each service's under its name), and the secrets that sign development tokens and open ledgers.
 * Made at the first start.
 */
export type Secrets = z.infer<typeof secretsSchema>;

/** The folder that keeps the data of a local stack. One stack may use it at a time. */
export class DataFolder {
  readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  /**
   * Takes the folder for this process, making it when it is not there.
   *
   * @param fresh begin with an empty folder
   * @throws UserError when another stack uses it, or when `fresh` would delete something else than a stack's data
   */
  static take(path: string, fresh: boolean): DataFolder {
    const folder = new DataFolder(resolve(path));
    folder.#refuseSecondOwner();
    if (fresh) folder.#empty();
    // Others may enter (PostgreSQL runs as another user when we are root), but not list it.
    mkdirSync(folder.path, { recursive: true, mode: 0o711 });
    writeFileSync(folder.file(OWNER), JSON.stringify({ pid: process.pid, ...identifyProcess(process.pid) }));
    return folder;
  }

  file(name: string): string {
    return join(this.path, name);
  }

  release(): void {
    rmSync(this.file(OWNER), { force: true });
  }

  /** The secrets kept here, with a password for each service; what is missing is made. */
  secrets(services: readonly string[]): Secrets {
    const make = () => randomBytes(24).toString('base64url');
    const kept = existsSync(this.file(SECRETS)) ? (readJson(this.file(SECRETS)) as Partial<Secrets>) : {};
    const secrets: Secrets = {
      postgres: make(),
      ...Object.fromEntries(services.map((service) => [service, make()])),
      tokens: make() + make(),
      internal: make(),
      ...kept,
    };
    writeFileSync(this.file(SECRETS), JSON.stringify(secrets, null, 2), { mode: 0o600 });
    return secrets;
  }

  #refuseSecondOwner(): void {
    if (!existsSync(this.file(OWNER))) return;
    const { pid, startedAt } = readJson(this.file(OWNER)) as { pid?: number; startedAt?: string };
    if (pid === undefined || pid === process.pid || identifyProcess(pid)?.startedAt !== startedAt) return;
    throw new UserError(
      `Another stack (process ${pid}) uses the data folder ${this.path}.\nStop it, or choose another folder with --data-dir.`,
    );
  }

  #empty(): void {
    if (!existsSync(this.path)) return;
    const entries = readdirSync(this.path);
    if (entries.length > 0 && !entries.includes(SECRETS)) {
      throw new UserError(`${this.path} holds no data of Tributary, so --fresh does not delete it.`);
    }
    for (const entry of entries) rmSync(join(this.path, entry), { recursive: true, force: true });
  }
}

/** Reads the secrets of a folder without taking it. @throws UserError when there are none */
export function readSecrets(path: string): Secrets {
  const file = join(resolve(path), SECRETS);
  const result = secretsSchema.safeParse(existsSync(file) ? readJson(file) : undefined);
  if (result.success) return result.data;
  throw new UserError(`${file} holds no secrets of a stack. Run "npm start" first, or "npm start -- --fresh".`);
}

function readJson(file: string): unknown {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    return {};
  }
}

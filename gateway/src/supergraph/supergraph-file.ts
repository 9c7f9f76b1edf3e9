import { unwatchFile, watchFile } from 'node:fs';
import { readFile } from 'node:fs/promises';
import type { SupergraphManager, SupergraphSdlHook } from '@apollo/gateway';
import type { Logger } from 'pino';

/** Reads a supergraph from a file, and again when the file changes. A file that does not do is reported, not served. */
export class SupergraphFile implements SupergraphManager {
  readonly #path: string;
  readonly #pollIntervalMs: number;
  readonly #logger: Logger;
  #problem: string | null = null;

  constructor(path: string, pollIntervalMs: number, logger: Logger) {
    this.#path = path;
    this.#pollIntervalMs = pollIntervalMs;
    this.#logger = logger;
  }

  /** Why the file, as it is now, is not served; null when it is. */
  get problem(): string | null {
    return this.#problem;
  }

  /** @throws when the file cannot be read */
  async initialize({
    update,
  }: Parameters<SupergraphSdlHook>[0]): Promise<{ supergraphSdl: string; cleanup: () => Promise<void> }> {
    const supergraphSdl = await readFile(this.#path, 'utf8');
    const reload = () => {
      this.#reload(update).catch((error: Error) => {
        this.#problem = `${this.#path}: ${error.message}`;
        this.#logger.warn({ problem: this.#problem }, 'the supergraph file could not be loaded');
      });
    };
    watchFile(this.#path, { interval: this.#pollIntervalMs }, reload).unref();
    return { supergraphSdl, cleanup: async () => unwatchFile(this.#path, reload) };
  }

  stop(): void {
    unwatchFile(this.#path);
  }

  async #reload(update: (supergraphSdl: string) => void): Promise<void> {
    update(await readFile(this.#path, 'utf8'));
    if (this.#problem !== null) this.#logger.info({ path: this.#path }, 'the supergraph file is loaded again');
    this.#problem = null;
  }
}

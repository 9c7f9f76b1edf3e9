import { unwatchFile, watchFile } from 'node:fs';
import { readFile } from 'node:fs/promises';
import type { Logger } from 'pino';
import type { ServeSupergraph, SupergraphSource } from './source.js';

/** Reads a supergraph from a file, and again when the file changes. A file that cannot be served is reported. */
export class FileSource implements SupergraphSource {
  readonly #path: string;
  readonly #pollIntervalMs: number;
  readonly #logger: Logger;
  #problem: string | null = null;
  #reload: (() => void) | null = null;

  constructor(path: string, pollIntervalMs: number, logger: Logger) {
    this.#path = path;
    this.#pollIntervalMs = pollIntervalMs;
    this.#logger = logger;
  }

  /** Why the present content of the file is not served; null when it is. */
  get problem(): string | null {
    return this.#problem;
  }

  /** @throws when the file cannot be read or served */
  async start(onSupergraph: ServeSupergraph): Promise<void> {
    await onSupergraph(await readFile(this.#path, 'utf8'));
    this.#reload = () => void this.#load(onSupergraph);
    watchFile(this.#path, { interval: this.#pollIntervalMs }, this.#reload).unref();
  }

  async stop(): Promise<void> {
    if (this.#reload) unwatchFile(this.#path, this.#reload);
    this.#reload = null;
  }

  /** Never throws. */
  async #load(onSupergraph: ServeSupergraph): Promise<void> {
    try {
      const supergraphSdl = await readFile(this.#path, 'utf8');
      if (!this.#reload) return;
      await onSupergraph(supergraphSdl);
      if (this.#problem !== null) this.#logger.info({ path: this.#path }, 'the supergraph file is loaded again');
      this.#problem = null;
    } catch (error) {
      // It was stopped meanwhile.
      if (!this.#reload) return;
      this.#problem = `${this.#path}: ${(error as Error).message}`;
      this.#logger.warn({ problem: this.#problem }, 'the supergraph file could not be loaded');
    }
  }
}

import { setTimeout as sleep } from 'node:timers/promises';
import { IntrospectAndCompose, type SupergraphManager, type SupergraphSdlHook } from '@apollo/gateway';
import type { Logger } from 'pino';
import type { Subgraph } from '../config.js';

const FIRST_RETRY_MS = 250;

/**
 * Keeps a supergraph composed from running subgraphs: waits for them at the start, notices when a schema changes, and
 * says why when it cannot compose. The caller keeps serving what it was given last.
 */
export class ComposedSupergraph implements SupergraphManager {
  readonly #subgraphs: readonly Subgraph[];
  readonly #pollIntervalMs: number;
  readonly #logger: Logger;
  readonly #stopped = new AbortController();
  #problem: string | null = null;

  constructor(subgraphs: readonly Subgraph[], pollIntervalMs: number, logger: Logger) {
    this.#subgraphs = subgraphs;
    this.#pollIntervalMs = pollIntervalMs;
    this.#logger = logger;
  }

  /** Why the newest attempt failed; null when it did not. */
  get problem(): string | null {
    return this.#problem;
  }

  async initialize(
    hooks: Parameters<SupergraphSdlHook>[0],
  ): Promise<{ supergraphSdl: string; cleanup: () => Promise<void> }> {
    let update: (supergraphSdl: string) => void = () => undefined;
    const first = new Promise<string>((resolve) => {
      update = resolve;
    });
    const following = this.#follow(hooks, (supergraphSdl) => update(supergraphSdl));
    const supergraphSdl = await Promise.race([first, following]);
    if (supergraphSdl === undefined) throw new Error('Stopped before a supergraph could be composed.');
    update = hooks.update;
    return {
      supergraphSdl,
      cleanup: async () => {
        this.stop();
        await following;
      },
    };
  }

  /** Ends the waiting, too. */
  stop(): void {
    this.#stopped.abort();
  }

  /**
   * Polls until stopped. After a failure it introspects every subgraph afresh: IntrospectAndCompose remembers the
   * schemas that it saw in a failed round, so on its own it would miss a change that came with another's outage.
   */
  async #follow(hooks: Parameters<SupergraphSdlHook>[0], update: (supergraphSdl: string) => void): Promise<undefined> {
    const { signal } = this.#stopped;
    const whenStopped = new Promise<void>((resolve) =>
      signal.addEventListener('abort', () => resolve(), { once: true }),
    );
    let attempts = 0;
    while (!signal.aborted) {
      let fail: () => void = () => undefined;
      const failed = new Promise<void>((resolve) => {
        fail = resolve;
      });
      const introspection = new IntrospectAndCompose({
        subgraphs: [...this.#subgraphs],
        pollIntervalInMs: this.#pollIntervalMs,
        logger: quietLogger((message) => {
          this.#report(message);
          fail();
        }),
      });
      try {
        const { supergraphSdl, cleanup } = await introspection.initialize({ ...hooks, update });
        try {
          update(supergraphSdl);
          this.#report(null);
          attempts = 0;
          await Promise.race([failed, whenStopped]);
        } finally {
          await cleanup();
        }
      } catch (error) {
        this.#report((error as Error).message);
      }
      const pause = Math.min(FIRST_RETRY_MS * 2 ** attempts++, this.#pollIntervalMs);
      await sleep(pause, undefined, { signal }).catch(() => undefined);
    }
    return undefined;
  }

  /** Logs a problem once, and its end. */
  #report(message: string | null): void {
    const problem =
      message?.replace(/^IntrospectAndCompose failed to update supergraph with the following error: /, '') ?? null;
    if (problem === this.#problem) return;
    if (problem !== null) this.#logger.warn({ problem }, 'the supergraph could not be composed');
    else if (this.#problem !== null) this.#logger.info('the supergraph composes again');
    this.#problem = problem;
  }
}

function quietLogger(onError: (message: string) => void) {
  const ignore = () => undefined;
  return { debug: ignore, info: ignore, warn: ignore, error: (message?: unknown) => onError(String(message)) };
}

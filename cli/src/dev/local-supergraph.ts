import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { composeLargest, composeSchemas, supergraphId } from '@tributary/gateway';
import { z } from 'zod';

const READ_MS = 5000;
const LOAD_MS = 10_000;
const LOOK_MS = 30;

const sdlSchema = z.object({ data: z.object({ _service: z.object({ sdl: z.string() }) }) });
const stateSchema = z.object({
  supergraph: z.object({ id: z.string() }).nullish(),
  problem: z.string().nullish(),
});

/** A service and where it answers GraphQL. */
interface Subgraph {
  readonly name: string;
  readonly url: string;
}

/**
 * The supergraph of the services that run here, in a file that the gateway follows. It is composed each time a service has been replaced,
 * so that the moment from which a schema is served can be reported. A gateway that polls the services would notice later, without reporting it.
 */
export class LocalSupergraph {
  /** For the gateway's SUPERGRAPH_PATH. */
  readonly path: string;
  readonly #subgraphs: readonly Subgraph[];
  readonly #gatewayUrl: string;
  readonly #schemas = new Map<string, string>();
  /** The schemas of which the supergraph that was written last is composed. */
  #composed = '';
  #written: string | null = null;
  /** The id of the supergraph that the gateway was seen to serve last. */
  #servedId: string | null = null;

  /** @param path where it is written */
  constructor(path: string, subgraphs: readonly Subgraph[], gatewayUrl: string) {
    this.path = path;
    this.#subgraphs = subgraphs;
    this.#gatewayUrl = gatewayUrl;
  }

  /** Whether there is one. */
  get exists(): boolean {
    return this.#written !== null;
  }

  /** Whether the gateway was seen to serve what was written last. */
  get isServed(): boolean {
    return this.#written !== null && this.#servedId === supergraphId(this.#written);
  }

  /**
   * Composes the schemas that services have now, and writes the supergraph when it is another one.
   *
   * @param names the services that run
   * @throws when a schema cannot be read, or the schemas do not compose; the supergraph stays as it is
   */
  async update(names: readonly string[]): Promise<void> {
    const running = this.#subgraphs.filter(({ name }) => names.includes(name));
    await Promise.all(running.map(async (each) => this.#schemas.set(each.name, await readSchema(each))));
    const schemas = JSON.stringify([...this.#schemas].sort());
    if (schemas === this.#composed || this.#schemas.size === 0) return;
    // At the start, services that run are served without those that do not.
    const isWhole = this.#schemas.size === this.#subgraphs.length || this.exists;
    const supergraph = isWhole
      ? await composeSchemas(this.#subgraphs, this.#schemas)
      : (await composeLargest(this.#subgraphs, this.#schemas)).supergraphSdl;
    if (supergraph !== this.#written) this.#write(supergraph);
    this.#composed = schemas;
  }

  /** Waits until the gateway serves what was written last. @throws when it does not within some seconds */
  async served(): Promise<void> {
    const startedAt = performance.now();
    for (;;) {
      const state = await this.#readState();
      this.#servedId = state?.supergraph?.id ?? null;
      if (this.isServed) return;
      // It may be about a supergraph before; the gateway reads a new one after a moment.
      if (performance.now() - startedAt > LOAD_MS)
        throw new Error(state?.problem ?? 'The gateway did not load the new supergraph.');
      await sleep(LOOK_MS);
    }
  }

  remove(): void {
    rmSync(this.path, { force: true });
  }

  /** The gateway never reads a part of it. */
  #write(supergraph: string): void {
    writeFileSync(`${this.path}.new`, supergraph);
    renameSync(`${this.path}.new`, this.path);
    this.#written = supergraph;
  }

  async #readState(): Promise<z.infer<typeof stateSchema> | null> {
    try {
      const response = await fetch(`${this.#gatewayUrl}/health/ready`, { signal: AbortSignal.timeout(READ_MS) });
      return stateSchema.parse(await response.json());
    } catch {
      return null;
    }
  }
}

/** @throws when the service does not answer, or not with a schema */
async function readSchema({ name, url }: Subgraph): Promise<string> {
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ query: '{ _service { sdl } }' }),
      signal: AbortSignal.timeout(READ_MS),
    });
    return sdlSchema.parse(await response.json()).data._service.sdl;
  } catch (error) {
    const { cause, message } = error as Error;
    throw new Error(
      `The schema of ${name} cannot be read: ${(cause as NodeJS.ErrnoException | undefined)?.code ?? message}`,
    );
  }
}

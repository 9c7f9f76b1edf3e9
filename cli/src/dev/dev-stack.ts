import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { PROJECT } from '../services.js';
import { build } from './build.js';
import { runChangedMigrations } from './changed-migrations.js';
import type { LocalSupergraph } from './local-supergraph.js';
import { readPackages } from './packages.js';
import { endPrograms, Program } from './program.js';
import { type SourceChange, SourceFiles } from './source-files.js';

export interface DevStackOptions {
  /** Environment variables of each service, by its name. */
  readonly services: ReadonlyMap<string, Readonly<Record<string, string>>>;
  readonly gateway: Readonly<Record<string, string>>;
  readonly supergraph: LocalSupergraph;
  /** Prints a line. */
  readonly say: (line: string) => void;
  /** Called once, when the whole graph can be queried. */
  readonly onReady: () => void;
  readonly stopped: AbortSignal;
}

/** The programs of the graph, which are built and replaced as their sources change. */
export class DevStack {
  readonly #options: DevStackOptions;
  readonly #packages = readPackages();
  readonly #sources = new SourceFiles();
  readonly #services: readonly Program[];
  readonly #gateway: Program;
  #isReady = false;
  /** The compilers' last errors; null when everything is built. */
  #buildProblem: string | null = null;
  /** Why the schemas that services have now are not served; null when they are. */
  #schemaProblem: string | null = null;

  constructor(options: DevStackOptions) {
    this.#options = options;
    const { services, gateway, say, stopped } = options;
    const common = { packages: this.#packages, outdated: () => this.#sources.changed, say, stopped };
    this.#services = [...services].map(([name, environment]) => {
      const folder = `subgraphs/${name}`;
      return new Program({
        ...common,
        name,
        folder,
        environment,
        prepare: runChangedMigrations(folder, environment, stopped),
      });
    });
    this.#gateway = new Program({ ...common, name: 'gateway', folder: 'gateway', environment: gateway });
  }

  /** Starts everything, and then follows what changes: one build and one reload at a time. @throws when it is stopped */
  async run(): Promise<never> {
    const { say, stopped } = this.#options;
    this.#sources.take();
    let change: SourceChange = { paths: [], savedAt: Date.now() };
    for (;;) {
      for (const hint of this.#hints(change.paths)) say(hint);
      if ((await this.#build()) || !this.#isReady) await this.#reload(change.savedAt);
      if (!this.#isReady) say('Not ready yet. Waiting for a change …');
      change = await this.#sources.next(stopped);
    }
  }

  /** Ends every process. */
  async stop(): Promise<void> {
    await endPrograms();
    this.#options.supergraph.remove();
  }

  /** @returns whether everything compiles */
  async #build(): Promise<boolean> {
    const { say, stopped } = this.#options;
    const problem = await build(this.#packages, stopped);
    if (problem === null && this.#buildProblem !== null) say('The build succeeds again.');
    if (problem !== null && problem !== this.#buildProblem)
      say(`The build failed; nothing is reloaded.\n\n${problem}\n`);
    this.#buildProblem = problem;
    return problem === null;
  }

  /** Replaces the programs whose code has changed, and then the supergraph. */
  async #reload(savedAt: number): Promise<void> {
    const { say, onReady, supergraph } = this.#options;
    const reloaded = await this.#replace(this.#services);
    const problemBefore = this.#schemaProblem;
    const running = this.#services.filter(({ isRunning }) => isRunning).map(({ name }) => name);
    this.#schemaProblem = await problemOf(supergraph.update(running));
    // Also when the schemas do not compose.
    if (supergraph.exists) reloaded.push(...(await this.#replace([this.#gateway])));
    const canServe = this.#schemaProblem === null && this.#gateway.isRunning;
    const wasServed = supergraph.isServed && problemBefore === null;
    if (canServe) this.#schemaProblem = await problemOf(supergraph.served());
    this.#options.stopped.throwIfAborted();
    const isLive = canServe && this.#schemaProblem === null && !wasServed;
    if (!this.#isReady) {
      this.#isReady = this.#schemaProblem === null && [...this.#services, this.#gateway].every((p) => p.isRunning);
      if (this.#isReady) onReady();
    } else if (reloaded.length > 0) {
      const took = ((Date.now() - savedAt) / 1000).toFixed(1);
      say(`${reloaded.join(', ')} reloaded${isLive ? ', schema live' : ''} (${took} s)`);
    }
    if (this.#schemaProblem !== null && (reloaded.length > 0 || this.#schemaProblem !== problemBefore))
      say(`The new schema is not served; the previous one is. ${this.#schemaProblem}`);
  }

  /** Replaces those programs whose code has changed. @returns the names of those that were */
  async #replace(programs: readonly Program[]): Promise<string[]> {
    const { say, stopped } = this.#options;
    const outdated = programs.filter(({ isOutdated }) => isOutdated);
    const replaced = await Promise.all(
      outdated.map(async (program) => {
        try {
          await program.replace();
          return [program.name];
        } catch (error) {
          stopped.throwIfAborted();
          const stays = program.isRunning ? ' The process before keeps serving.' : '';
          say(`${program.name} did not start: ${(error as Error).message}.${stays}`);
          return [];
        }
      }),
    );
    return replaced.flat();
  }

  /** Messages for changes that take effect only when the stack is started again. */
  #hints(paths: readonly string[]): string[] {
    const changed = (pattern: RegExp) => [...new Set(paths.flatMap((path) => pattern.exec(path)?.[1] ?? []))];
    const started = new Set(this.#packages.map(({ folder }) => folder));
    const isThere = (folder: string) => existsSync(join(PROJECT, folder, 'package.json'));
    const folders = changed(/^(subgraphs\/[^/]+)\//);
    return [
      ...folders.filter((folder) => isThere(folder) && !started.has(folder)).map((folder) => `${folder} is new`),
      ...folders.filter((folder) => !isThere(folder) && started.has(folder)).map((folder) => `${folder} is gone`),
      ...changed(/^(cli)\/src\//).map(() => 'The command line (cli) has changed'),
      ...changed(/^((?:.+\/)?package\.json)$/).map((file) => `${file} has changed`),
    ].map((what) => `${what}: start "npm run dev" again for that.`);
  }
}

/** @returns why something failed; null when it did not */
function problemOf(work: Promise<unknown>): Promise<string | null> {
  return work.then(
    () => null,
    (error: Error) => error.message,
  );
}

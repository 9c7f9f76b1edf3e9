import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { findConnections, foreignIn } from '@tributary/cli';
import pg from 'pg';
import { ask } from '../harness/graphql-client.ts';
import { isAlive, type RunningProgram, runProgram } from '../harness/process.ts';
import { copyProject } from '../harness/project-copy.ts';
import { until } from '../harness/until.ts';

const BROWSE = `query Browse($first: Int!) {
  orders(first: $first) { nodes { number customer { name } items { product { name stock { available } } } } }
}`;
const DESCRIPTIONS = `query Descriptions($name: String!) {
  __type(name: $name) { description fields { name description } }
}`;

/** `npm run dev` on a copy of the project, and a client that queries it all the time. */
export class DevSession {
  readonly url: string;
  readonly #folder: string;
  readonly #program: RunningProgram;
  readonly #children: readonly number[];
  readonly #failures: unknown[] = [];
  #answers = 0;
  #browsing = true;
  readonly #client: Promise<void>;

  private constructor(folder: string, program: RunningProgram, url: string) {
    this.#folder = folder;
    this.#program = program;
    this.url = url;
    this.#children = childrenOf(program.pid);
    this.#client = this.#browse();
  }

  /** Resolves when the stack says that it is ready. @param files foreign files in its data folder, by name */
  static async start(files: Readonly<Record<string, string>> = {}): Promise<DevSession> {
    const folder = copyProject('dev');
    mkdirSync(join(folder, '.data'));
    for (const [name, text] of Object.entries({ 'tributary.txt': '', ...files }))
      writeFileSync(join(folder, '.data', name), text);
    const ports = ['gateway', 'users', 'products', 'orders'].map((name) => `--${name}-port=0`);
    const args = ['dev', '--data-dir', join(folder, '.data'), '--scale', '0.05', ...ports];
    const program = runProgram(join(folder, 'cli/bin/tributary.mjs'), args);
    try {
      const [, url = ''] = await program.printed(/is ready [\s\S]*Graph {5}(http:\S+)\/graphql[\s\S]*Ctrl-C/);
      return new DevSession(folder, program, url);
    } catch (error) {
      rmSync(folder, { recursive: true, force: true });
      throw error;
    }
  }

  /** All that it has printed. */
  get output(): string {
    return this.#program.output();
  }

  /** What it logged as a warning or worse since it was ready, except that a busy machine delayed the database. */
  get warnings(): string[] {
    const [, sinceReady = ''] = this.output.split('Tributary is ready');
    const lines = sinceReady.split('\n').filter((line) => /"level":[4-6]0/.test(line));
    return lines.filter((line) => !line.includes('the database does not answer'));
  }

  /** What went wrong for the client, of how many queries. */
  get queries(): { readonly count: number; readonly failures: readonly unknown[] } {
    return { count: this.#answers, failures: this.#failures };
  }

  /** Resolves when, after a change, it has printed something that matches. */
  async prints(change: () => void, pattern: RegExp): Promise<void> {
    const from = this.output.length;
    change();
    await until(
      async () => this.output.slice(from),
      (text) => pattern.test(text),
      60_000,
    );
  }

  /** What is in its data folder that it did not write, by name. */
  get foreign(): Readonly<Record<string, string>> {
    return Object.fromEntries(foreignIn(join(this.#folder, '.data')).map((name) => [name, this.read(`.data/${name}`)]));
  }

  /** The processes of a service. */
  processesOf(service: string): number[] {
    const program = join(this.#folder, 'subgraphs', service, 'dist/main.js');
    return childrenOf(this.#program.pid).filter((pid) =>
      readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').includes(program),
    );
  }

  path(file: string): string {
    return join(this.#folder, file);
  }

  read(file: string): string {
    return readFileSync(this.path(file), 'utf8');
  }

  /** Saves a file: as editors do, either in place or by a rename. */
  save(file: string, text: string, how: 'in place' | 'by rename' = 'in place'): void {
    const path = join(this.#folder, file);
    writeFileSync(how === 'in place' ? path : `${path}~`, text);
    if (how === 'by rename') renameSync(`${path}~`, path);
  }

  /** Replaces a text that is there. */
  replace(file: string, text: string, by: string): void {
    const before = this.read(file);
    if (!before.includes(text)) throw new Error(`${file} does not have: ${text}`);
    this.save(file, before.replace(text, by));
  }

  /** The descriptions of a type, and of its fields by name, as the gateway's clients see them. */
  async descriptionsOf(type: string): Promise<{ readonly itself: string; readonly [field: string]: string }> {
    const { data } = await ask(this.url, DESCRIPTIONS, { name: type });
    const { description, fields } = data.__type as {
      description: string;
      fields: { name: string; description: string }[];
    };
    return { itself: description, ...Object.fromEntries(fields.map((field) => [field.name, field.description])) };
  }

  /** Resolves when the description of a field is what was saved. */
  async shows(type: string, field: string, description: string): Promise<void> {
    await until(
      () => this.descriptionsOf(type),
      (now) => now[field] === description,
      60_000,
    );
  }

  /** The columns of a table in the database of products. */
  async columnsOf(table: string): Promise<string[]> {
    const connectionString = findConnections(join(this.#folder, '.data'), {}).PRODUCTS_DATABASE_URL;
    const client = new pg.Client({ connectionString });
    await client.connect();
    const query = 'select column_name as name from information_schema.columns where table_name = $1';
    const { rows } = await client.query<{ name: string }>(query, [table]);
    await client.end();
    return rows.map(({ name }) => name);
  }

  /** @returns how it ended, after how long, and which of its processes are left */
  async end(signal: NodeJS.Signals): Promise<{ status: unknown; tookMs: number; left: readonly number[] }> {
    this.#browsing = false;
    await this.#client;
    const children = new Set([...this.#children, ...childrenOf(this.#program.pid)]);
    const startedAt = performance.now();
    this.#program.kill(signal);
    const status = await this.#program.ended;
    const tookMs = performance.now() - startedAt;
    const alive = async () => [...children].filter(isAlive);
    const left = await until(alive, (pids) => pids.length === 0, 5000).catch(alive);
    rmSync(this.#folder, { recursive: true, force: true });
    return { status, tookMs, left };
  }

  async #browse(): Promise<void> {
    while (this.#browsing) {
      try {
        const { data, errors } = await ask(this.url, BROWSE, { first: 5 });
        if (errors || data.orders.nodes.length !== 5) this.#failures.push({ data, errors });
      } catch (error) {
        this.#failures.push((error as Error).cause ?? error);
      }
      this.#answers += 1;
      // The builds need the cores, too.
      await sleep(100);
    }
  }
}

/** The processes that a process has started; none when it has ended. */
function childrenOf(pid: number): number[] {
  const file = `/proc/${pid}/task/${pid}/children`;
  return existsSync(file) ? readFileSync(file, 'utf8').split(/\s+/).filter(Boolean).map(Number) : [];
}

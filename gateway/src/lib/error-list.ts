import type { Path } from './json.js';

/** How many errors a response lists at most. */
export const MAX_ERRORS = 1000;

/** An argument that an error is about, in the names of the plan. */
export interface ArgumentUse {
  /** The response names of the fields from where the fetch starts to the field that has the argument. */
  readonly fields: readonly string[];
  readonly argument: string;
  /** The part of the argument's value; empty: all of it. */
  readonly within: Path;
}

/**
 * Who wrote an error's message: the subgraph's GraphQL server, about the document, its variables or arguments; a resolver that failed;
 * a resolver that gives a code of its own, and so means the message for clients.
 */
export type Author = 'server' | 'resolver' | 'coded resolver';

/** An error of a response in the names of the plan; `client-errors.ts` converts it to the client's. */
export interface ResponseError {
  readonly message: string;
  readonly extensions: Readonly<Record<string, unknown>>;
  /** What is missing because of it, in the order of the response; empty: the error is about the response as a whole. */
  readonly paths: readonly Path[];
  /** The arguments whose value the subgraph refused. */
  readonly uses?: readonly ArgumentUse[];
  /** Not set: the gateway wrote the message, for clients. */
  readonly author?: Author;
  /** Whether it only repeats that another error left the response without data. */
  readonly isConsequence?: boolean;
}

/** Failures of a subgraph as a whole: one is listed once for each field, whatever the number of objects that lack it. */
const OUTAGES = new Set<unknown>(['SUBGRAPH_UNAVAILABLE', 'TIMEOUT']);

interface Branch {
  isEnd: boolean;
  readonly below: Map<string | number, Branch>;
}

/** The errors of one response: bounded, and with an index of the places that they explain. */
export class ResponseErrors {
  readonly list: ResponseError[] = [];
  #outages: Map<string, Path[]> | null = null;
  #explained: Branch | null = null;

  get length(): number {
    return this.list.length;
  }

  /** Whether no more errors are listed, which the last of them says. */
  get isFull(): boolean {
    return this.list.length > MAX_ERRORS;
  }

  /** Adds an error; the one above the bound says that there are more. @returns whether further errors may be added */
  add(error: ResponseError): boolean {
    if (this.isFull) return false;
    const listed = this.#merged(error);
    if (!listed) return true;
    if (this.list.length < MAX_ERRORS) this.list.push(listed);
    else {
      const message = `There are more errors; the first ${MAX_ERRORS} are listed.`;
      this.list.push({ message, extensions: { code: 'TOO_MANY_ERRORS' }, paths: [] });
    }
    if (this.#explained) insert(this.#explained, error.paths);
    return true;
  }

  /** Whether an error says why there is nothing at a path: one at, above or below it, or one of the whole response. */
  explains(path: Path): boolean {
    if (this.list.some(({ paths }) => paths.length === 0)) return true;
    let branch: Branch | undefined = this.#index();
    for (const key of path) {
      if (branch?.isEnd) return true;
      branch = branch?.below.get(key);
    }
    return branch !== undefined;
  }

  #index(): Branch {
    if (this.#explained) return this.#explained;
    this.#explained = { isEnd: false, below: new Map() };
    for (const { paths } of this.list) insert(this.#explained, paths);
    return this.#explained;
  }

  /** @returns null when the paths were added to the same failure at the same field of another object */
  #merged(error: ResponseError): ResponseError | null {
    const [first] = error.paths;
    if (!first || !OUTAGES.has(error.extensions.code)) return error;
    const field = first.filter((key) => typeof key === 'string');
    const key = JSON.stringify([error.message, error.extensions, field]);
    this.#outages ??= new Map();
    const known = this.#outages.get(key);
    if (known) {
      for (const path of error.paths) known.push(path);
      if (this.#explained) insert(this.#explained, error.paths);
      return null;
    }
    const paths = [...error.paths];
    this.#outages.set(key, paths);
    return { ...error, paths };
  }
}

function insert(root: Branch, paths: readonly Path[]): void {
  for (const path of paths) {
    let branch = root;
    for (const key of path) {
      let next = branch.below.get(key);
      if (!next) {
        next = { isEnd: false, below: new Map() };
        branch.below.set(key, next);
      }
      branch = next;
    }
    branch.isEnd = true;
  }
}

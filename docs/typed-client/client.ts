import type { TypedDocumentString } from './generated/graphql.ts';

/** The graph answered with errors; the first one's message, and all of them. */
export class GraphError extends Error {
  override readonly name = 'GraphError';
  readonly errors: readonly { readonly message: string; readonly extensions?: { readonly code?: string } }[];

  constructor(errors: GraphError['errors']) {
    super(errors[0]?.message);
    this.errors = errors;
  }
}

/** The graph did not answer, or not as a graph does. `cause` is what `fetch` or the JSON parser threw. */
export class UnreachableError extends Error {
  override readonly name = 'UnreachableError';

  constructor(url: string, cause: unknown) {
    const { message, cause: below } = cause as Error;
    super(`No answer from the graph at ${url}: ${(below as NodeJS.ErrnoException | undefined)?.code ?? message}`, {
      cause,
    });
  }
}

/** Asks the graph, and sees its own changes in whatever it asks next. */
export class Graph {
  readonly #url: string;
  #session: string | null = null;

  constructor(url: string) {
    this.#url = url;
  }

  /** @throws GraphError or UnreachableError */
  async ask<Result, Variables>(
    document: TypedDocumentString<Result, Variables>,
    ...[variables]: Record<string, never> extends Variables ? [] : [Variables]
  ): Promise<Result> {
    const { data, errors } = await this.#send<Result>({ query: document.toString(), variables });
    if (errors) throw new GraphError(errors);
    return data;
  }

  async #send<Result>(body: object): Promise<{ data: Result; errors?: GraphError['errors'] }> {
    try {
      const response = await fetch(this.#url, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          ...(this.#session && { 'x-session-token': this.#session }),
        },
        body: JSON.stringify(body),
        signal: AbortSignal.timeout(10_000),
      });
      const answer = (await response.json()) as { data: Result; errors?: GraphError['errors'] };
      this.#session = response.headers.get('x-session-token') ?? this.#session;
      return answer;
    } catch (cause) {
      throw new UnreachableError(this.#url, cause);
    }
  }
}

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

/** Asks the graph, and sees its own changes in whatever it asks next. */
export class Graph {
  readonly #url: string;
  #session: string | null = null;

  constructor(url: string) {
    this.#url = url;
  }

  /** @throws GraphError, or what `fetch` throws when there is no answer */
  async ask<Result, Variables>(
    document: TypedDocumentString<Result, Variables>,
    ...[variables]: Record<string, never> extends Variables ? [] : [Variables]
  ): Promise<Result> {
    const response = await fetch(this.#url, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        ...(this.#session && { 'x-session-token': this.#session }),
      },
      body: JSON.stringify({ query: document.toString(), variables }),
      signal: AbortSignal.timeout(10_000),
    });
    const { data, errors } = (await response.json()) as { data: Result; errors?: GraphError['errors'] };
    this.#session = response.headers.get('x-session-token') ?? this.#session;
    if (errors) throw new GraphError(errors);
    return data;
  }
}

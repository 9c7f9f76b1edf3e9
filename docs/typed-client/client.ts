import type { TypedDocumentString } from './generated/graphql.ts';

/** The response has errors. The message is the first one's; `errors` has all of them. */
export class GraphError extends Error {
  override readonly name = 'GraphError';
  readonly errors: readonly { readonly message: string; readonly extensions?: { readonly code?: string } }[];

  constructor(errors: GraphError['errors']) {
    super(errors[0]?.message);
    this.errors = errors;
  }
}

/** There was no response, or none in JSON. `cause` is what `fetch` or the JSON parser threw. */
export class UnreachableError extends Error {
  override readonly name = 'UnreachableError';

  constructor(url: string, cause: unknown) {
    const { message, cause: below } = cause as Error;
    super(`No answer from the graph at ${url}: ${(below as NodeJS.ErrnoException | undefined)?.code ?? message}`, {
      cause,
    });
  }
}

/** Sends operations to the graph. Later queries see what its mutations changed. */
export class Graph {
  readonly #url: string;
  #consistencyToken: string | null = null;

  constructor(url: string) {
    this.#url = url;
  }

  /**
   * Sends an operation, and returns its data.
   *
   * @throws GraphError if the response has errors
   * @throws UnreachableError if there is no response
   */
  async send<Result, Variables>(
    document: TypedDocumentString<Result, Variables>,
    ...[variables]: Record<string, never> extends Variables ? [] : [Variables]
  ): Promise<Result> {
    const { data, errors } = await this.#post<Result>({ query: document.toString(), variables });
    if (errors) throw new GraphError(errors);
    return data;
  }

  async #post<Result>(body: object): Promise<{ data: Result; errors?: GraphError['errors'] }> {
    try {
      const response = await fetch(this.#url, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          ...(this.#consistencyToken && { 'x-consistency-token': this.#consistencyToken }),
        },
        body: JSON.stringify(body),
        signal: AbortSignal.timeout(10_000),
      });
      const result = (await response.json()) as { data: Result; errors?: GraphError['errors'] };
      this.#consistencyToken = response.headers.get('x-consistency-token') ?? this.#consistencyToken;
      return result;
    } catch (cause) {
      throw new UnreachableError(this.#url, cause);
    }
  }
}

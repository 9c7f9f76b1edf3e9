const HEADER = 'x-consistency-token';

/**
 * Keeps the newest consistency token of the graph's responses, and sends it with every later request, so that a client
 * reads its own writes through every gateway, from every cache and copy. Use one instance per signed-in user.
 *
 * @example
 * const token = new ConsistencyToken();
 * const send = token.wrap(fetch);
 * await send('http://localhost:4000/graphql', { method: 'POST', headers, body: mutation });
 * await send('http://localhost:4000/graphql', { method: 'POST', headers, body: query }); // sees what the mutation changed
 */
export class ConsistencyToken {
  #value: string | null = null;

  /** Headers to send: the token, once there is one. */
  get headers(): Record<string, string> {
    return this.#value === null ? {} : { [HEADER]: this.#value };
  }

  /** Takes the token from a response. A response without one (a query's) changes nothing. */
  readFrom(response: Response): void {
    this.#value = response.headers.get(HEADER) ?? this.#value;
  }

  /** Returns a `fetch` that sends and reads the token. Any client that accepts a `fetch` can use it. */
  wrap(base: typeof fetch): typeof fetch {
    return async (input, init) => {
      const headers = new Headers(init?.headers);
      for (const [name, value] of Object.entries(this.headers)) headers.set(name, value);
      const response = await base(input, { ...init, headers });
      this.readFrom(response);
      return response;
    };
  }
}

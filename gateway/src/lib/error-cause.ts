/** A property that no subgraph can send: what comes from one is JSON. */
const CAUSE = Symbol('cause');

/** Notes in an error's extensions that its message is the gateway's own: it holds no data of users, and may be logged. Clients do not see the note. */
export function withCause<Extensions extends object>(extensions: Extensions, message: string): Extensions {
  return { ...extensions, [CAUSE]: message };
}

/** Why a request failed, where the gateway itself found out; undefined for an error that a subgraph answered with. */
export function causeOf(extensions: object): string | undefined {
  return (extensions as { readonly [CAUSE]?: string })[CAUSE];
}

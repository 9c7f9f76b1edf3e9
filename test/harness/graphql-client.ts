import { ERROR_CATALOGUE } from '@tributary/server';

/** An answer as a client sees it. `data` is as loose as JSON: tests say what they expect of it. */
export interface GraphQLAnswer {
  // biome-ignore lint/suspicious/noExplicitAny: every test selects other fields
  readonly data: any;
  readonly errors?: readonly {
    readonly message: string;
    readonly path?: readonly (string | number)[];
    readonly locations?: readonly { readonly line: number; readonly column: number }[];
    readonly extensions: Readonly<Record<string, unknown>>;
  }[];
  readonly extensions?: Readonly<Record<string, unknown>>;
  readonly status: number;
}

/** Sends one operation by POST. */
export async function ask(
  serviceUrl: string,
  query: string,
  variables: Record<string, unknown> = {},
  headers: Record<string, string> = {},
): Promise<GraphQLAnswer> {
  const response = await fetch(`${serviceUrl}/graphql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ query, variables }),
    signal: AbortSignal.timeout(20_000),
  });
  return { ...((await response.json()) as GraphQLAnswer), status: response.status };
}

/** The errors of an answer whose code, or whose reason beside that code, is not in the catalogue. */
export function uncatalogued({ errors = [] }: Pick<GraphQLAnswer, 'errors'>): unknown[] {
  return errors.filter(({ extensions: { code, reason } }) => {
    const entry = catalogue[String(code)];
    return !entry || (reason !== undefined && !Object.hasOwn(entry.reasons ?? {}, String(reason)));
  });
}

const catalogue: Readonly<Record<string, { readonly when: string; readonly reasons?: object }>> = ERROR_CATALOGUE;

/** The codes of an answer's errors. */
export function codesOf(answer: GraphQLAnswer): unknown[] {
  return (answer.errors ?? []).map((error) => error.extensions.code);
}

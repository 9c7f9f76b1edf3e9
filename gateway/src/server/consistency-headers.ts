import {
  CONSISTENCY_TOKEN_HEADER as HEADER,
  InvalidTokenError,
  readConsistencyToken,
  writeConsistencyToken,
} from '@tributary/consistency';
import { ApiError, type GraphQLRequest } from '@tributary/server';
import type { Logger } from 'pino';

const COOKIE = 'tributary-consistency';
/** A request with this header gets the token as a cookie, too. */
const COOKIE_REQUEST = 'x-consistency-cookie';
/** The names of earlier releases; they still work. */
const FORMER = { header: 'x-session-token', cookie: 'tributary-session', cookieRequest: 'x-session' };

/** What clients must let scripts of other origins read (CORS). */
export const CONSISTENCY_RESPONSE_HEADERS: readonly string[] = [HEADER, FORMER.header];

/** A consistency token, and the name of the header that carries it. */
interface GivenToken {
  readonly token: string;
  readonly header: string;
}

/** Reads and writes consistency tokens in HTTP headers and cookies. Logs a warning once when a client uses a name of an earlier release. */
export class ConsistencyHeaders {
  readonly #logger: Logger;
  readonly #warned = new Set<string>();

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** The token that a request carries, in a header or a cookie; undefined without one. */
  find({ http: { headers } }: GraphQLRequest): string | undefined {
    return this.#find(headers)?.token;
  }

  /**
   * The positions of the token that a request carries; none without a token.
   *
   * @throws ApiError BAD_USER_INPUT for a token that no gateway has issued
   */
  read({ http: { headers } }: GraphQLRequest): ReadonlyMap<string, number> {
    const given = this.#find(headers);
    return given ? decode(given) : new Map();
  }

  /** The headers of a response to a mutation whose changes are at these positions. */
  write({ http: { headers } }: GraphQLRequest, positions: ReadonlyMap<string, number>): Record<string, string> {
    const token = writeConsistencyToken(positions);
    const asksCookie =
      headers[COOKIE_REQUEST] === 'true' ||
      headers[FORMER.cookieRequest] === 'cookie' ||
      (headers.cookie !== undefined && findCookie(headers.cookie) !== undefined);
    const cookie = `${COOKIE}=${token}; Path=/; HttpOnly; SameSite=Lax; Max-Age=86400`;
    return { [HEADER]: token, [FORMER.header]: token, ...(asksCookie && { 'set-cookie': cookie }) };
  }

  #find(headers: GraphQLRequest['http']['headers']): GivenToken | undefined {
    if (headers[FORMER.cookieRequest] === 'cookie')
      this.#warn(`${FORMER.cookieRequest}: cookie`, `${COOKIE_REQUEST}: true`);
    for (const header of [HEADER, FORMER.header]) {
      const token = headers[header];
      if (typeof token !== 'string' || token === '') continue;
      if (header === FORMER.header) this.#warn(header, HEADER);
      return { token, header };
    }
    const token = headers.cookie === undefined ? undefined : findCookie(headers.cookie);
    return token === undefined ? undefined : { token, header: 'cookie' };
  }

  #warn(former: string, name: string): void {
    if (this.#warned.has(former)) return;
    this.#warned.add(former);
    this.#logger.warn({ former, name }, 'a client uses the former name of a header; it still works');
  }
}

/** The cookie of an earlier release counts only without the present one. */
function findCookie(cookies: string): string | undefined {
  for (const name of [COOKIE, FORMER.cookie]) {
    const value = new RegExp(`(?:^|;\\s*)${name}=([\\w-]+)`).exec(cookies)?.[1];
    if (value !== undefined) return value;
  }
  return undefined;
}

function decode({ token, header }: GivenToken): ReadonlyMap<string, number> {
  try {
    return readConsistencyToken(token);
  } catch (error) {
    if (!(error instanceof InvalidTokenError)) throw error;
    const message = `"${header}" must carry a token from the header "${HEADER}" of a response.`;
    throw new ApiError('BAD_USER_INPUT', message, { field: header });
  }
}

import {
  CONSISTENCY_TOKEN_HEADER as HEADER,
  InvalidTokenError,
  readConsistencyToken,
  writeConsistencyToken,
} from '@tributary/consistency';
import { ApiError, type GraphQLRequest, type ResponseHeaders } from '@tributary/server';
import type { Logger } from 'pino';
import { latest } from '../consistency/index.js';

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

const NO_TOKENS: readonly GivenToken[] = [];
const NO_POSITIONS: ReadonlyMap<string, number> = new Map();

/** Reads and writes consistency tokens in HTTP headers and cookies. Logs a warning once when a client uses a name of an earlier release. */
export class ConsistencyHeaders {
  readonly #logger: Logger;
  readonly #warned = new Set<string>();

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** The tokens that a request carries, as one text; undefined without a token. Requests that differ in it may need different data. */
  find({ http: { headers } }: GraphQLRequest): string | undefined {
    const tokens = this.#find(headers);
    return tokens.length === 0 ? undefined : tokens.map(({ token }) => token).join();
  }

  /**
   * The positions of the token that a request carries; none without a token. A former cookie that cannot be read does not count beside the
   * present one: no script can delete it, and so it would fail every request.
   *
   * @throws ApiError BAD_USER_INPUT for a token that no gateway has issued
   */
  read({ http: { headers } }: GraphQLRequest): ReadonlyMap<string, number> {
    const [token, formerCookie] = this.#find(headers);
    const positions = token ? decode(token) : NO_POSITIONS;
    return formerCookie ? latest(positions, decode(formerCookie, NO_POSITIONS)) : positions;
  }

  /** The headers of a response to a mutation whose changes are at these positions. */
  write({ http: { headers } }: GraphQLRequest, positions: ReadonlyMap<string, number>): ResponseHeaders {
    const token = writeConsistencyToken(positions);
    const { cookie: cookies = '' } = headers;
    const asksFormer = headers[FORMER.cookieRequest] === 'cookie' || findCookie(cookies, FORMER.cookie) !== undefined;
    const asksCookie = headers[COOKIE_REQUEST] === 'true' || findCookie(cookies, COOKIE) !== undefined;
    const names = [...(asksFormer || asksCookie ? [COOKIE] : []), ...(asksFormer ? [FORMER.cookie] : [])];
    const cookie = names.map((name) => `${name}=${token}; Path=/; HttpOnly; SameSite=Lax; Max-Age=86400`);
    return { [HEADER]: token, [FORMER.header]: token, ...(cookie.length > 0 && { 'set-cookie': cookie }) };
  }

  /** A header counts before cookies. Of cookies both count: during an upgrade, gateways of the earlier release write the former one only. */
  #find(headers: GraphQLRequest['http']['headers']): readonly GivenToken[] {
    if (headers[FORMER.cookieRequest] === 'cookie')
      this.#warn(`${FORMER.cookieRequest}: cookie`, `${COOKIE_REQUEST}: true`);
    for (const header of [HEADER, FORMER.header]) {
      const token = headers[header];
      if (typeof token !== 'string' || token === '') continue;
      if (header === FORMER.header) this.#warn(header, HEADER);
      return [{ token, header }];
    }
    const { cookie: cookies } = headers;
    if (cookies === undefined) return NO_TOKENS;
    return [COOKIE, FORMER.cookie].flatMap((name) => {
      const token = findCookie(cookies, name);
      if (token === undefined) return [];
      if (name === FORMER.cookie) this.#warn(name, COOKIE);
      return [{ token, header: 'cookie' }];
    });
  }

  #warn(former: string, name: string): void {
    if (this.#warned.has(former)) return;
    this.#warned.add(former);
    this.#logger.warn({ former, present: name }, 'a client uses the former name of a header; it still works');
  }
}

function findCookie(cookies: string, name: string): string | undefined {
  return new RegExp(`(?:^|;\\s*)${name}=([\\w-]+)`).exec(cookies)?.[1];
}

/** @param ifInvalid takes the place of a token that no gateway has issued; without it, such a token is an error */
function decode({ token, header }: GivenToken, ifInvalid?: ReadonlyMap<string, number>): ReadonlyMap<string, number> {
  try {
    return readConsistencyToken(token);
  } catch (error) {
    if (!(error instanceof InvalidTokenError)) throw error;
    if (ifInvalid) return ifInvalid;
    const message = `"${header}" must carry a token from the header "${HEADER}" of a response.`;
    throw new ApiError('BAD_USER_INPUT', message, { field: header });
  }
}

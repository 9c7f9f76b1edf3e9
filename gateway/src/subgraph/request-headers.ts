import { ACCEPT_ENCODING } from './http-post.js';
import type { Interceptor } from './interceptor.js';
import type { HeaderRule } from './subgraph-client.js';

/**
 * Adds the headers of every request to a subgraph, and removes those that clients send for other subgraphs only. Credentials in the URL
 * replace a client's `authorization`.
 */
export function requestHeaders(subgraph: string, url: URL, rules: readonly HeaderRule[]): Interceptor {
  const withheld = withheldFrom(subgraph, rules);
  const own = {
    'content-type': 'application/json',
    accept: 'application/json',
    'accept-encoding': ACCEPT_ENCODING,
    ...basicCredentials(url),
  };
  const allowed = (headers: Readonly<Record<string, string>>) =>
    withheld.length === 0
      ? headers
      : Object.fromEntries(Object.entries(headers).filter(([name]) => !withheld.includes(name)));
  return (next) => (request, origin) => next({ ...request, headers: { ...allowed(request.headers), ...own } }, origin);
}

/** The headers that only rules for other subgraphs forward. */
function withheldFrom(subgraph: string, rules: readonly HeaderRule[]): string[] {
  const allowed = new Set(
    rules.filter((rule) => rule.subgraph === null || rule.subgraph === subgraph).map(({ name }) => name),
  );
  return rules.map(({ name }) => name).filter((name) => !allowed.has(name));
}

/** The credentials of a URL (`https://user:password@host`), as a header. */
function basicCredentials({ username, password }: URL): Record<string, string> {
  if (username === '' && password === '') return {};
  const credentials = Buffer.from(`${decoded(username)}:${decoded(password)}`).toString('base64');
  return { authorization: `Basic ${credentials}` };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

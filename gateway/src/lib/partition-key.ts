import { OPERATION_NAME_HEADER } from '@tributary/server';

/** Headers that say which request it is, not whose. */
const TRACING = new Set(['x-request-id', 'traceparent', 'tracestate', OPERATION_NAME_HEADER]);

/** Requests with the same credentials may share what they fetch: those that send the same headers to subgraphs, but for tracing. */
export function credentialsOf(headers: Readonly<Record<string, string>>): string {
  const credentials: [name: string, value: string][] = [];
  for (const name in headers) if (!TRACING.has(name)) credentials.push([name, headers[name] as string]);
  if (credentials.length === 0) return '';
  return JSON.stringify(credentials.sort(([a], [b]) => (a < b ? -1 : 1)));
}

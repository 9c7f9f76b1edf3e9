/** Requests with the same credentials may share what they fetch: those that send the same headers to subgraphs, but for tracing. */
export function credentialsOf({
  'x-request-id': _,
  traceparent,
  tracestate,
  ...credentials
}: Readonly<Record<string, string>>): string {
  return JSON.stringify(Object.entries(credentials).sort(([a], [b]) => (a < b ? -1 : 1)));
}

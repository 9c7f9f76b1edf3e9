import type { IncomingHttpHeaders } from 'node:http';

/** W3C Trace Context: version, trace id, parent id, flags. A later version may append fields; none is longer than this yet. */
const TRACEPARENT = /^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/;
const TRACESTATE = /^[\x20-\x7e\t]{1,512}$/;

/**
 * Removes trace headers that are malformed or too long, as W3C Trace Context requires: nothing stores or forwards them.
 * `tracestate` means nothing without a valid `traceparent`.
 */
export function dropMalformedTraceHeaders(headers: IncomingHttpHeaders): void {
  const { traceparent, tracestate } = headers;
  if (traceparent === undefined && tracestate === undefined) return;
  const isValid = typeof traceparent === 'string' && TRACEPARENT.test(traceparent);
  if (!isValid) delete headers.traceparent;
  if (!isValid || typeof tracestate !== 'string' || !TRACESTATE.test(tracestate)) delete headers.tracestate;
}

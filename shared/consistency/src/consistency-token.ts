/** The header that carries a consistency token, in requests and in responses. */
export const CONSISTENCY_TOKEN_HEADER = 'x-consistency-token';

/** A token names fewer services than this. */
const MAX_SOURCES = 50;

/** A text is not a consistency token that a gateway issued. */
export class InvalidTokenError extends Error {
  override readonly name = 'InvalidTokenError';
}

/**
 * Encodes the positions of event logs, by service, as a consistency token. Clients treat it as opaque.
 *
 * @example
 * ```ts
 * import assert from 'node:assert/strict';
 * import { readConsistencyToken, writeConsistencyToken } from '@tributary/consistency';
 *
 * const token = writeConsistencyToken(new Map([['orders', 812]]));
 * assert.equal(readConsistencyToken(token).get('orders'), 812);
 * ```
 */
export function writeConsistencyToken(positions: ReadonlyMap<string, number>): string {
  return Buffer.from(JSON.stringify(Object.fromEntries(positions))).toString('base64url');
}

/**
 * Decodes a consistency token.
 *
 * @returns the position that the reader has seen in the event log of each service
 * @throws InvalidTokenError when the text is not a token
 */
export function readConsistencyToken(token: string): Map<string, number> {
  try {
    const entries = Object.entries(JSON.parse(Buffer.from(token, 'base64url').toString()) as Record<string, unknown>);
    const isValid = entries.every(
      ([source, position]) => /^[\w-]{1,64}$/.test(source) && Number.isSafeInteger(position),
    );
    if (isValid && entries.length <= MAX_SOURCES) return new Map(entries as [string, number][]);
  } catch {
    // Not base64url, or not JSON: the error below says so.
  }
  throw new InvalidTokenError('not a consistency token');
}

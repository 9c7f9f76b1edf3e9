import { createHash, timingSafeEqual } from 'node:crypto';
import { explain } from '../execution/index.js';
import type { GatewayPlugin } from '../runtime/index.js';

const HEADER = 'x-explain';

/**
 * Adds `extensions.explanation` (plan, fetches and their times) to responses to requests with the header `x-explain`.
 *
 * @param token the value that the header must have; null when any value will do, undefined when no request is explained
 */
export function explainPlugin(token: string | null | undefined): GatewayPlugin {
  return {
    name: 'explain',
    requestHeaders: [HEADER],
    onExecute({ clientHeaders }) {
      const given = clientHeaders[HEADER];
      if (typeof given !== 'string' || token === undefined || (token !== null && !isSame(given, token))) return;
      return {
        trace: true,
        onResult: (result, report) => ({
          ...result,
          extensions: { ...result.extensions, explanation: explain(report) },
        }),
      };
    },
  };
}

/** Compares secrets in a time that does not depend on where they differ. */
function isSame(given: string, secret: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(given), digest(secret));
}

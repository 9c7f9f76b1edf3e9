import { reportFreshness } from '../execution/index.js';
import type { GatewayPlugin } from '../runtime/index.js';

const HEADER = 'x-freshness';

/** Adds `extensions.freshness` (cache hits, ages, lags of copies) to responses to requests with the header `x-freshness`. */
export const freshnessReport: GatewayPlugin = {
  name: 'freshness-report',
  requestHeaders: [HEADER],
  onExecute({ clientHeaders }) {
    if (clientHeaders[HEADER] === undefined) return;
    return {
      trace: true,
      onResult: (result, { traces, switched }) => ({
        ...result,
        extensions: { ...result.extensions, freshness: reportFreshness(traces, switched) },
      }),
    };
  },
};

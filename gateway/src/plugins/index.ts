// Plug-ins: one optional feature each.

// Runs equal queries of clients in flight once.
export { clientQueryDeduplication } from './client-query-deduplication.js';
// The header `x-explain`: plan, fetches and times.
export { explainPlugin } from './explain.js';
// The header `x-freshness`: cache hits, ages and lags.
export { freshnessReport } from './freshness-report.js';
// Refuses documents that are too large.
export { operationLimits } from './operation-limits.js';

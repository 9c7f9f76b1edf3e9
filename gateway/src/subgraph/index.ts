// The port to a subgraph: requests and results, whatever the protocol.

// Which headers a request can have; plug-ins may change them.
export { checkHeaders } from './check-headers.js';
// Why a fetch has no result.
export { FetchError } from './fetch-error.js';
// Metrics of all subgraphs.
export { FetchMetrics } from './fetch-metrics.js';
// The client over HTTP. Its interceptors: fetch-metrics, outage-detector (with circuit-breaker), request-headers, retry. Its transport: http-post,
// which enforces deadline and size limit, and graphql-result.
export { HttpSubgraph, type HttpSubgraphOptions, type HttpSubgraphReports } from './http-subgraph.js';
export {
  type Fetcher,
  type HeaderRule,
  type Subgraph,
  type SubgraphClient,
  type SubgraphError,
  type SubgraphRequest,
  type SubgraphResponse,
  type SubgraphResult,
  withoutCredentials,
} from './subgraph-client.js';

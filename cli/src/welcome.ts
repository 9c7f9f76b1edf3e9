import { SAMPLE_QUERY } from '@tributary/shared/superstore/sample-query';
import type { LocalStack } from './start.js';

/** The block that a command prints when the graph can be queried. @param took such as `2.1 s` */
export function welcome({ url, serviceUrls }: Pick<LocalStack, 'url' | 'serviceUrls'>, took: string): string {
  const services = Object.entries(serviceUrls).map(([name, at]) => `${name} ${at}`);
  return `
Tributary is ready (${took}).

  Graph     ${url}/graphql
  Explore   ${url}  (Apollo Sandbox)   ${url}/graphiql  (GraphiQL, works offline)
  Services  ${services.join('   ')}
  Health    /health/ready and /metrics on each of them

Try:

  curl ${url}/graphql -H 'content-type: application/json' \\
    -d '${JSON.stringify({ query: SAMPLE_QUERY.replace(/\s+/g, ' ').trim() }).replaceAll("'", "'\\''")}'

Ctrl-C stops everything.`;
}

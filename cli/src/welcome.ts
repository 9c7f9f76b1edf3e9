import { SAMPLE_QUERY } from '@tributary/shared/superstore/sample-query';
import type { LocalStack } from './start.js';

/** The block that a command prints when the graph can be queried. @param took such as `2.1 s` */
export function welcome(stack: Pick<LocalStack, 'url' | 'serviceUrls' | 'explorer'>, took: string): string {
  const { url, serviceUrls, explorer } = stack;
  const services = Object.entries(serviceUrls).map(([name, at]) => `${name} ${at}`);
  return `
Tributary is ready (${took}).

  Graph     ${url}/graphql
  Explore   ${explorer ? `${url}  (Apollo Sandbox)   ${url}/graphiql  (GraphiQL, works offline)` : 'off: EXPLORER=on serves Apollo Sandbox and GraphiQL'}
  Services  ${services.join('   ')}
  Health    /health/ready and /metrics on each of them

Try:

  curl ${url}/graphql -H 'content-type: application/json' \\
    -d '${JSON.stringify({ query: SAMPLE_QUERY.replace(/\s+/g, ' ').trim() }).replaceAll("'", "'\\''")}'

Ctrl-C stops everything.`;
}

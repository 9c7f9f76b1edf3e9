import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { PROJECT } from './services.js';
import type { LocalStack } from './start.js';

/** The block that a command prints when the graph can be queried. @param took such as `2.1 s` */
export function welcome(stack: Pick<LocalStack, 'url' | 'serviceUrls' | 'explorer'>, took: string): string {
  const { url, serviceUrls, explorer } = stack;
  const sampleQuery = readFileSync(join(PROJECT, 'gateway/pages/sample-query.graphql'), 'utf8').replace(/^#.*/gm, '');
  const services = Object.entries(serviceUrls).map(([name, at]) => `${name} ${at}`);
  return `
Tributary is ready (${took}).

  Graph     ${url}/graphql
  Explore   ${explorer ? `${url}  (Apollo Sandbox)   ${url}/graphiql  (GraphiQL, works offline)` : 'off: EXPLORER=on serves Apollo Sandbox and GraphiQL'}
  Services  ${services.join('   ')}
  Health    /health/ready and /metrics on each of them

Try:

  curl ${url}/graphql -H 'content-type: application/json' \\
    -d '${JSON.stringify({ query: sampleQuery.replace(/\s+/g, ' ').trim() }).replaceAll("'", "'\\''")}'

Ctrl-C stops everything.`;
}

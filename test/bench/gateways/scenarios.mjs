// What the gateways are measured with, by name: the request, and the subgraphs that it is answered from.
import { typeDefs as growth } from './growth-subgraphs.mjs';
import { TOKEN } from './load.mjs';
import { QUERIES as SHOP, typeDefs as shop } from './shop.mjs';
import { QUERIES as SUPERSTORE } from './superstore.mjs';

const DELAY_MS = 4;
const BIG = '{ things(count: 2000, size: 4000) { id text f1 } }';

/**
 * `workload` names subgraphs (WORKLOADS), `about` what is special, for a title; optional are `variables`, `delayMs` of every
 * subgraph, and `connections`. With TOKEN in its query or variables, no two requests are alike.
 */
export const SCENARIOS = {
  large: { workload: 'shop', about: 'the public benchmark', query: SHOP.large },
  small: { workload: 'shop', about: 'the public benchmark', query: SHOP.small },
  delayed: {
    workload: 'shop',
    about: `large, each subgraph answers ${DELAY_MS} ms later`,
    query: SHOP.large,
    delayMs: DELAY_MS,
  },
  big: { workload: 'growth', about: '2,000 entities of two subgraphs', query: BIG, connections: 4 },
  distinct: {
    workload: 'shop',
    about: 'one operation, each request with its own value of a variable',
    // The value is in every request to a subgraph, so plans can be reused, but neither answers nor fetches can be shared.
    query: SHOP.distinct,
    variables: { id: `1-${TOKEN}` },
  },
  unseen: {
    workload: 'shop',
    about: 'each request an operation of its own: name, alias and literal differ',
    query: SHOP.unseen,
  },
  ...Object.fromEntries(
    Object.entries(SUPERSTORE).map(([name, query]) => [
      name,
      { workload: 'superstore', about: 'the Superstore', query },
    ]),
  ),
};

/** The schemas of made-up subgraphs; those of the Superstore come from its services. */
export const WORKLOADS = { shop, growth };

export const bodyOf = ({ query, variables }) => JSON.stringify({ query, variables });
export const isDistinct = (scenario) => bodyOf(scenario).includes(TOKEN);

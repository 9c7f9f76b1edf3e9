import { isIP } from 'node:net';
import { natsUrl } from '@tributary/bus';
import {
  count,
  duration,
  type GivenSettings,
  isUrl,
  listSetting,
  onOff,
  port,
  readEnvironment,
  serveSettings,
  setting,
  urlSetting,
} from '@tributary/server';
import { z } from 'zod';
import type { HeaderRule, Subgraph } from './subgraph/index.js';

const LOCAL_SUBGRAPHS =
  'users=http://localhost:4001/graphql,products=http://localhost:4002/graphql,orders=http://localhost:4003/graphql';

/** Where Apollo's hosted Sandbox and Explorer send requests from. */
const APOLLO_ORIGINS = [
  'https://studio.apollographql.com',
  'https://sandbox.embed.apollographql.com',
  'https://explorer.embed.apollographql.com',
];

const subgraphs = listSetting(
  'name=url pairs such as users=http://localhost:4001/graphql',
  (entry, before: readonly Subgraph[]) => {
    const [, name = '', url = ''] = /^([\w-]{1,64})=(\S+)$/.exec(entry) ?? [];
    if (!isUrl(url, ['http', 'https'])) return undefined;
    if (before.some((other) => other.name === name)) return { problem: `expected each name once, not "${name}" again` };
    return { name, url };
  },
  LOCAL_SUBGRAPHS,
);

const origins = listSetting('origins such as https://shop.example, "localhost" or "*"', (entry) => {
  if (entry === '*' || entry === 'localhost') return entry;
  // Other schemes, such as those of browser extensions, have no origin that could be compared.
  const isOrigin = /^https?:/i.test(entry)
    ? URL.canParse(entry) && new URL(entry).origin === entry
    : /^[a-z][a-z\d+.-]*:\/\/[^\s/?#@]+$/.test(entry);
  return isOrigin ? entry : undefined;
}).optional();

/** Headers that are of one connection or one body, not of what is asked. */
const OWN_HEADERS =
  /^(host|connection|keep-alive|te|trailer|transfer-encoding|upgrade|expect|content-.*|accept|accept-encoding)$/;

const headerRules = listSetting(
  'names of headers such as authorization or, for one subgraph, users:x-api-key',
  (entry): HeaderRule | undefined | { readonly problem: string } => {
    const [, subgraph, name = ''] = /^(?:([\w-]+):)?([\w-]+)$/.exec(entry.toLowerCase()) ?? [];
    if (OWN_HEADERS.test(name)) return { problem: 'expected headers that can be forwarded' };
    return name ? { name, subgraph: subgraph ?? null } : undefined;
  },
  'authorization,x-request-id,traceparent,tracestate',
);

const labels = listSetting(
  'labels such as new-stock or new-prices=10%',
  (entry): readonly [string, number] | undefined => {
    const [, label = '', percent = '100'] = /^([\w.-]+)(?:=(\d{1,3}(?:\.\d+)?)%)?$/.exec(entry) ?? [];
    return label && Number(percent) <= 100 ? [label, Number(percent) / 100] : undefined;
  },
  '',
).transform((entries): ReadonlyMap<string, number> => new Map(entries));

/** Names of networks that the HTTP server knows. */
const NAMED_NETWORKS = new Set(['loopback', 'linklocal', 'uniquelocal']);

const networks = listSetting(
  'addresses or networks such as 10.0.0.7 or 172.16.0.0/12',
  (entry) => {
    const [, address = '', bits = '0'] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(entry) ?? [];
    const isNetwork = Number(bits) <= (isIP(address) === 6 ? 128 : 32) && isIP(address) !== 0;
    return isNetwork || NAMED_NETWORKS.has(entry) ? entry : undefined;
  },
  '',
);

/** On or off as given; unless given, off in production and on elsewhere. */
const openOutsideProduction = onOff().optional();

const MIB = 1024 * 1024;
const OUTSIDE_PRODUCTION = '`on`, `off`; by default `off` in production (`NODE_ENV`), else `on`.';

/** Every other value counts as production, so that a misspelled one opens nothing. */
const OUTSIDE = ['development', 'test'];

/** What the gateway reads from its environment. */
export const settings = {
  GATEWAY_PORT: port(4000).describe('Port to listen on; 0 picks a free one. Without it, `PORT` is read.'),
  SUBGRAPHS: subgraphs.describe(
    "Subgraphs to introspect and compose: `name=url` pairs, with commas. `https://user:password@host/graphql` (percent-encoded) sends Basic credentials in place of the client's `authorization`.",
  ),
  SUPERGRAPH_PATH: z
    .string()
    .optional()
    .describe('File with a composed supergraph, in place of `SUBGRAPHS`. It disables the cache.'),
  SUPERGRAPH_POLL_INTERVAL: duration('5s', { min: '10ms' }).describe(
    "Interval at which the subgraphs' schemas, or the supergraph file, are read again.",
  ),
  SUPERGRAPH_FALLBACK: z
    .string()
    .optional()
    .describe(
      'Where the last supergraph is stored, for a start while a subgraph is down: the path of a file, or `redis` (needs `REDIS_URL`). Without it, such a start serves the subgraphs that respond.',
    )
    .meta({ formerly: 'LAST_SUPERGRAPH' }),
  SUBGRAPH_TIMEOUT: duration('5s', { min: '1ms', max: '1h' }).describe(
    'Time limit of one fetch. A batch of entity fetches that timed out is sent again, fetch by fetch, so a response may take twice as long.',
  ),
  SUBGRAPH_MAX_RESPONSE: count(32 * MIB).describe(
    'Largest response that is read from a subgraph, in bytes, decompressed.',
  ),
  CIRCUIT_BREAKER_FAILURES: count(20)
    .describe(
      'Consecutive failures, over at least a second, that open the circuit breaker of a subgraph; 0 disables it.',
    )
    .meta({ formerly: 'SUBGRAPH_BREAK_AFTER' }),
  CIRCUIT_BREAKER_RESET: duration('500ms', { min: '1ms', max: '1h' })
    .describe(
      'Time after which an open circuit breaker probes the subgraph. It doubles up to 3s until the subgraph responds.',
    )
    .meta({ formerly: 'SUBGRAPH_BREAK' }),
  SUBGRAPH_FETCH_DEDUPLICATION: onOff('on')
    .describe(
      'Whether requests that need the same data of a subgraph at the same time, with the same credentials, share one fetch: `on`, `off`.',
    )
    .meta({ formerly: 'SUBGRAPH_FETCH_SHARING' }),
  ENTITY_BATCHING: onOff('on')
    .describe(
      'Whether entity fetches of a request to one subgraph at one time are sent as one batch: `on`, `off`. Entities for which a batch returns no data are fetched again alone.',
    )
    .meta({ formerly: 'SUBGRAPH_FETCH_MERGING' }),
  CLIENT_QUERY_DEDUPLICATION: onOff('on')
    .describe(
      'Whether clients that send the same query at the same time, with the same credentials and without a bound on staleness, share one response: `on`, `off`.',
    )
    .meta({ formerly: 'CLIENT_QUERY_SHARING' }),
  NATS_URL: natsUrl.describe(
    'NATS server that carries invalidations: `nats://host:4222`. Without it (except in `npm start`) nothing is cached.',
  ),
  CACHE: onOff('on').describe('Whether data that subgraphs declare cacheable is cached until it changes: `on`, `off`.'),
  CACHE_MAX_BYTES: count(128 * MIB).describe('Largest size of the cache of one process, in bytes.'),
  REDIS_URL: urlSetting(['redis', 'rediss'], 'redis://host:6379')
    .optional()
    .describe("Redis server with a second cache behind each process's own, shared by gateways: `redis://host:6379`."),
  REDIS_PREFIX: setting(
    'letters, digits and _ . : - only',
    // No character that means something in a pattern of Redis.
    (text) => (/^[\w.:-]+$/.test(text) ? `${text}:` : undefined),
    'tributary',
  ).describe(
    'Prefix of the keys in Redis. Environments that share a Redis database need different prefixes, as nothing else separates their entries.',
  ),
  MAX_STALENESS: duration(undefined)
    .optional()
    .describe('Bound on staleness for requests without `x-max-staleness`: `2s`. Without it, any age is served.'),
  PROPAGATED_HEADERS: headerRules.describe(
    'Headers of clients that are forwarded to subgraphs; `users:x-api-key` forwards to one subgraph only. Requests with different values are never deduplicated; `x-request-id`, `traceparent` and `tracestate` are ignored for this.',
  ),
  OVERRIDE_LABELS: labels.describe(
    'Labels of progressive `@override`s that are on: `new-stock,new-prices=10%`. `percent(5)` needs no entry.',
  ),
  MAX_OPERATION_TOKENS: count(20_000).describe(
    'Most tokens, and most lines, of a document. This and the limits below are enforced before an operation is planned.',
  ),
  MAX_OPERATION_DEPTH: count(50).describe('Greatest depth of nested fields in an operation.'),
  MAX_OPERATION_ALIASES: count(1000).describe('Most aliases in an operation.'),
  MAX_OPERATION_FIELDS: count(10_000).describe('Most fields in an operation, with fragments expanded.'),
  MAX_OPERATIONS: count(10_000).describe(
    'Most operations whose plans are cached: about 20 kB each, and 200 MB in total.',
  ),
  QUERY_PLANNER: z
    .enum(['native', 'apollo'])
    .optional()
    .describe(
      'Planner of operations: `native` (`@graphql-hive/router-query-planner`) or `apollo` (`@apollo/query-planner`) only. By default `native`, and `apollo` for what the native one cannot plan: supergraphs with `@context`, platforms without its binary, and single operations.',
    ),
  PLANNING_TIMEOUT: duration('5s', { min: '10ms', max: '1m' }).describe(
    'Time limit of planning one operation. Planners run in processes of their own, which are ended then.',
  ),
  WARM_UP_TIMEOUT: duration('5s', { max: '10m' }).describe(
    'Longest time for which a new supergraph waits, before it serves, until the most used operations (at most 1,000) are planned on it; the one before serves meanwhile. 0 plans them when they are requested.',
  ),
  WARM_UP_STORE: z
    .string()
    .optional()
    .describe(
      'Where the most used operations are stored, so that a gateway plans them before it serves after a restart, too: the path of a file, or `redis` (needs `REDIS_URL`). Values of arguments and variables are not stored. By default they are in memory only.',
    ),
  NODE_ENV: z
    .string()
    .default('development')
    .describe(
      'Every value but `development` and `test` means production (the image sets `production`), which disables `x-explain`, introspection, suggestions and the explorer unless the settings below enable them.',
    ),
  EXPLAIN_TOKEN: z
    .string()
    .optional()
    .describe(
      'Enables `x-explain` in production for requests that send this value; elsewhere any value enables it. It adds `extensions.explanation`.',
    ),
  INTROSPECTION: openOutsideProduction.describe(
    `Whether clients may query the schema (\`__schema\`, \`__type\`): ${OUTSIDE_PRODUCTION}`,
  ),
  SUGGESTIONS: openOutsideProduction.describe(
    `Whether error messages suggest names of the schema ("Did you mean …?"): ${OUTSIDE_PRODUCTION}`,
  ),
  EXPLORER: openOutsideProduction.describe(
    `Whether the gateway serves Apollo Sandbox at \`/\` and GraphiQL at \`/graphiql\`: ${OUTSIDE_PRODUCTION}`,
  ),
  TRUSTED_PROXIES: networks.describe(
    'Proxies whose `X-Forwarded-For` names the client: addresses, networks such as `172.16.0.0/12`, `loopback`, `linklocal` or `uniquelocal`, with commas.',
  ),
  CORS_ORIGINS: origins.describe(
    "Origins whose pages may send requests, with commas: `https://shop.example`; `localhost` is this machine on any port, `*` every origin. By default `localhost` (in production: none), and Apollo's Sandbox with `EXPLORER`.",
  ),
  ...serveSettings,
};

/** `PORT` is how hosting platforms say where to listen. */
const ALIASES = { GATEWAY_PORT: 'PORT' };

function check({ SUPERGRAPH_FALLBACK, WARM_UP_STORE, REDIS_URL }: GivenSettings) {
  const [user] = Object.entries({ SUPERGRAPH_FALLBACK, WARM_UP_STORE }).find(([, place]) => place === 'redis') ?? [];
  if (!user || REDIS_URL) return [];
  const problem = `expected a URL such as redis://host:6379 for ${user}=redis; it is not set`;
  return [{ setting: 'REDIS_URL', problem }];
}

/** @throws ConfigurationError */
export function readConfig(env: NodeJS.ProcessEnv = process.env) {
  const { NODE_ENV, ...config } = readEnvironment(settings, env, { aliases: ALIASES, check });
  const isProduction = !OUTSIDE.includes(NODE_ENV);
  const { INTROSPECTION = !isProduction, SUGGESTIONS = !isProduction, EXPLORER = !isProduction } = config;
  const defaultOrigins = [...(isProduction ? [] : ['localhost']), ...(EXPLORER ? APOLLO_ORIGINS : [])];
  const CORS_ORIGINS = config.CORS_ORIGINS ?? defaultOrigins;
  return { ...config, isProduction, INTROSPECTION, SUGGESTIONS, EXPLORER, CORS_ORIGINS };
}

export type GatewayConfig = ReturnType<typeof readConfig>;

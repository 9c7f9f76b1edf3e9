import { isIP } from 'node:net';
import { ConfigurationError, duration, port, readEnvironment } from '@tributary/shared/config/environment';
import { natsUrl } from '@tributary/shared/events/event-settings';
import { serveSettings } from '@tributary/shared/service/run-service';
import { z } from 'zod';

/** A service of the graph and where it answers. */
export interface Subgraph {
  readonly name: string;
  readonly url: string;
}

/** A header of clients' requests that subgraphs are sent too: all of them, or one. */
export interface HeaderRule {
  readonly name: string;
  readonly subgraph: string | null;
}

const LOCAL_SUBGRAPHS =
  'users=http://localhost:4001/graphql,products=http://localhost:4002/graphql,orders=http://localhost:4003/graphql';

/** Where Apollo's hosted Sandbox and Explorer send requests from. */
const APOLLO_ORIGINS = [
  'https://studio.apollographql.com',
  'https://sandbox.embed.apollographql.com',
  'https://explorer.embed.apollographql.com',
];

const subgraphs = z
  .string()
  .default(LOCAL_SUBGRAPHS)
  .transform((text, context): Subgraph[] =>
    text.split(',').map((entry) => {
      const [, name = '', url = ''] = /^\s*([\w-]+)=(https?:\/\/\S+?)\s*$/.exec(entry) ?? [];
      if (!name || !URL.canParse(url)) context.addIssue('wants name=url pairs: users=http://localhost:4001/graphql,…');
      return { name, url };
    }),
  );

const origins = z
  .string()
  .optional()
  .transform((text) => text?.split(',').map((item) => item.trim()));

/** Headers that are of one connection or one body, not of what is asked. */
const OWN_HEADERS =
  /^(host|connection|keep-alive|te|trailer|transfer-encoding|upgrade|expect|content-.*|accept|accept-encoding)$/;

const headerRules = z
  .string()
  .default('authorization,x-request-id,traceparent,tracestate')
  .transform((text, context): HeaderRule[] =>
    text.split(',').map((entry) => {
      const [, subgraph, name = ''] = /^\s*(?:([\w-]+):)?([\w-]+)\s*$/.exec(entry.toLowerCase()) ?? [];
      if (!name) context.addIssue('wants names of headers: authorization,… or, for one subgraph, users:x-api-key');
      if (OWN_HEADERS.test(name)) context.addIssue(`"${name}" cannot be handed on`);
      return { name, subgraph: subgraph ?? null };
    }),
  );

const labels = z
  .string()
  .default('')
  .transform((text, context): ReadonlyMap<string, number> => {
    const entries = text.split(',').filter((entry) => entry.trim() !== '');
    return new Map(
      entries.map((entry) => {
        const [, label = '', percent = '100'] = /^\s*([\w.-]+)(?:=(\d{1,3}(?:\.\d+)?)%)?\s*$/.exec(entry) ?? [];
        if (!label || Number(percent) > 100) context.addIssue('wants labels: new-stock,new-prices=10%');
        return [label, Number(percent) / 100];
      }),
    );
  });

/** Names of networks that the HTTP server knows. */
const NAMED_NETWORKS = new Set(['loopback', 'linklocal', 'uniquelocal']);

const networks = z
  .string()
  .default('')
  .transform((text, context): readonly string[] => {
    const entries = text.split(',').map((entry) => entry.trim());
    return entries.filter((entry) => {
      if (entry === '') return false;
      const [, address = '', bits = '0'] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(entry) ?? [];
      const isNetwork = Number(bits) <= (isIP(address) === 6 ? 128 : 32) && isIP(address) !== 0;
      if (!isNetwork && !NAMED_NETWORKS.has(entry)) {
        context.addIssue(`expected addresses or networks such as 10.0.0.7,172.16.0.0/12; got "${entry}"`);
      }
      return true;
    });
  });

const onOff = (preset: 'on' | 'off') =>
  z
    .enum(['on', 'off'])
    .default(preset)
    .transform((value) => value === 'on');

/** On or off as given; unless given, off in production and on elsewhere. */
const openOutsideProduction = z
  .enum(['on', 'off'])
  .optional()
  .transform((value) => value && value === 'on');

const count = (preset: number) => z.coerce.number('wants a number').int('wants a whole number').min(0).default(preset);

const MIB = 1024 * 1024;

/** What the gateway reads from its environment. */
export const settings = {
  GATEWAY_PORT: port(4000).describe('0 picks a free one; `PORT` is understood, too, as platforms set it'),
  SUBGRAPHS: subgraphs.describe(
    "`name=url` pairs, with commas: introspected and composed. `https://user:password@host/graphql` (percent-encoded) sends Basic credentials in place of the client's `authorization`",
  ),
  SUPERGRAPH_PATH: z
    .string()
    .optional()
    .describe('a file with a composed supergraph, in place of `SUBGRAPHS`; then nothing is cached'),
  SUPERGRAPH_POLL_INTERVAL: duration('5s').describe('how often schemas, or the file, are looked at again'),
  LAST_SUPERGRAPH: z
    .string()
    .optional()
    .describe(
      'where the last supergraph is kept: the path of a file, or `redis` (needs `REDIS_URL`). A gateway that starts while a subgraph is down serves it; without it, a supergraph of the subgraphs that answer',
    ),
  SUBGRAPH_TIMEOUT: duration('5s').describe(
    'how long one fetch may take. A batch of entity fetches that timed out is sent once more, fetch by fetch, so a response may take twice as long',
  ),
  SUBGRAPH_MAX_RESPONSE: count(32 * MIB).describe(
    'the largest response of a subgraph that is read, in bytes, decompressed',
  ),
  SUBGRAPH_BREAK_AFTER: count(20).describe(
    'so many failures in a row, which go on for a second, keep requests from a subgraph for a while; 0: never',
  ),
  SUBGRAPH_BREAK: duration('500ms').describe(
    'after which time it is probed; it doubles, up to 3 s, until the subgraph answers',
  ),
  SUBGRAPH_FETCH_SHARING: onOff('on').describe(
    'requests that want the same of a subgraph at the same time, with the same credentials, share one fetch; `off`',
  ),
  SUBGRAPH_FETCH_MERGING: onOff('on').describe(
    'entity fetches of a request to one subgraph at one time become one batch; what a batch brings no data for is fetched again alone; `off`',
  ),
  CLIENT_QUERY_SHARING: onOff('on').describe(
    'clients that send the same query at the same time, with the same credentials, are given one answer, unless they set a bound on staleness; `off`',
  ),
  NATS_URL: natsUrl.describe('where it hears of changes; without it (and outside `npm start`) nothing is cached'),
  CACHE: onOff('on').describe('what subgraphs declare cacheable is kept until it changes; `off`'),
  CACHE_MAX_BYTES: count(128 * MIB).describe('how much the cache of one process may hold'),
  REDIS_URL: z
    .string()
    .regex(/^rediss?:\/\//, 'wants a URL: redis://host:6379')
    .optional()
    .describe("`redis://host:6379`: a cache behind the process's own, which several gateways share"),
  REDIS_PREFIX: z
    .string()
    // No character that means something in a pattern of Redis.
    .regex(/^[\w.:-]+$/, 'expected letters, digits and _ . : - only')
    .default('tributary')
    .transform((prefix) => `${prefix}:`)
    .describe(
      'what the keys in Redis begin with: environments that share a Redis database need one each, as nothing else tells their entries apart',
    ),
  MAX_STALENESS: z.string().optional().describe('the bound for requests that say none: `2s`'),
  PROPAGATED_HEADERS: headerRules.describe(
    'headers of clients that subgraphs are sent; `users:x-api-key` is for one subgraph only. Requests share nothing when these differ, but for the last three',
  ),
  OVERRIDE_LABELS: labels.describe(
    'labels of progressive `@override`s that are on: `new-stock,new-prices=10%`. `percent(5)` needs no entry',
  ),
  MAX_OPERATION_TOKENS: count(20_000).describe(
    'of a document; here and below, what is larger is refused before it is planned',
  ),
  MAX_OPERATION_DEPTH: count(50).describe('fields in fields'),
  MAX_OPERATION_ALIASES: count(1000).describe('in an operation'),
  MAX_OPERATION_FIELDS: count(10_000).describe("a fragment's counted wherever it is spread"),
  MAX_OPERATIONS: count(10_000).describe('how many operations are kept planned: some 20 kB each, and 200 MB in all'),
  NODE_ENV: z
    .string()
    .default('development')
    .describe('in `production`, as in the image, nobody is told how an answer came about, unless'),
  EXPLAIN_TOKEN: z
    .string()
    .optional()
    .describe('a request says this as `x-explain`; elsewhere any value does (it adds `extensions.explanation`)'),
  INTROSPECTION: openOutsideProduction.describe(
    'whether clients may query the schema (`__schema`, `__type`): `on`, `off`; by default `off` in production, else `on`',
  ),
  SUGGESTIONS: openOutsideProduction.describe(
    'whether error messages suggest names of the schema ("Did you mean …?"): `on`, `off`; by default `off` in production, else `on`',
  ),
  EXPLORER: openOutsideProduction.describe(
    'whether the gateway serves Apollo Sandbox at `/` and GraphiQL at `/graphiql`: `on`, `off`; by default `off` in production, else `on`',
  ),
  TRUSTED_PROXIES: networks.describe(
    'proxies in front of the gateway (addresses, networks such as `172.16.0.0/12`, or `loopback`, `uniquelocal`), with commas: the client is then who their `X-Forwarded-For` names',
  ),
  CORS_ORIGINS: origins.describe(
    "sites whose pages may send requests, with commas; `localhost` is this machine on any port, `*` every site. By default `localhost` (in production: none), and Apollo's Sandbox with `EXPLORER`",
  ),
  ...serveSettings,
};

/** @throws ConfigurationError */
export function readConfig(env: NodeJS.ProcessEnv = process.env) {
  const config = readEnvironment(settings, { ...env, GATEWAY_PORT: env.GATEWAY_PORT || env.PORT });
  if (config.LAST_SUPERGRAPH === 'redis' && !config.REDIS_URL) {
    throw new ConfigurationError('LAST_SUPERGRAPH: "redis" needs REDIS_URL, which is not set.');
  }
  const isProduction = config.NODE_ENV === 'production';
  const { INTROSPECTION = !isProduction, SUGGESTIONS = !isProduction, EXPLORER = !isProduction } = config;
  const defaultOrigins = [...(isProduction ? [] : ['localhost']), ...(EXPLORER ? APOLLO_ORIGINS : [])];
  return { ...config, INTROSPECTION, SUGGESTIONS, EXPLORER, CORS_ORIGINS: config.CORS_ORIGINS ?? defaultOrigins };
}

export type GatewayConfig = ReturnType<typeof readConfig>;

import { duration, port, readEnvironment } from '@tributary/shared/config/environment';
import { eventSettings } from '@tributary/shared/events/event-settings';
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

/** Pages on this machine, and where Apollo's hosted Sandbox and Explorer ask from. */
const EXPLORER_ORIGINS =
  'localhost,https://studio.apollographql.com,https://sandbox.embed.apollographql.com,https://explorer.embed.apollographql.com';

const subgraphs = z
  .string()
  .default(LOCAL_SUBGRAPHS)
  .transform((text, context): Subgraph[] =>
    text.split(',').map((entry) => {
      const [, name = '', url = ''] = /^\s*([\w-]+)=(https?:\/\/\S+?)\s*$/.exec(entry) ?? [];
      if (!name) context.addIssue('wants name=url pairs: users=http://localhost:4001/graphql,…');
      return { name, url };
    }),
  );

const origins = z
  .string()
  .default(EXPLORER_ORIGINS)
  .transform((text) => text.split(',').map((item) => item.trim()));

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

const onOff = (preset: 'on' | 'off') =>
  z
    .enum(['on', 'off'])
    .default(preset)
    .transform((value) => value === 'on');

const count = (preset: number) => z.coerce.number('wants a number').int('wants a whole number').min(0).default(preset);

const MIB = 1024 * 1024;

/** Reads the gateway's configuration from the environment. */
export function readConfig(env: NodeJS.ProcessEnv = process.env) {
  return readEnvironment(
    {
      ...serveSettings,
      /** PORT is understood too, as platforms set it. */
      GATEWAY_PORT: port(4000),
      /** Introspected and composed, unless SUPERGRAPH_PATH is set. */
      SUBGRAPHS: subgraphs,
      /** A file with a composed supergraph schema; then the gateway asks no subgraph for its schema. */
      SUPERGRAPH_PATH: z.string().optional(),
      SUPERGRAPH_POLL_INTERVAL: duration('5s'),
      SUBGRAPH_TIMEOUT: duration('5s'),
      /** The largest answer of a subgraph that is read, in bytes. */
      SUBGRAPH_MAX_RESPONSE: count(32 * MIB),
      /** So many failures in a row keep requests from a subgraph for a while; 0 never does. */
      SUBGRAPH_BREAK_AFTER: count(20),
      SUBGRAPH_BREAK: duration('500ms'),
      /** Requests that want the same of a subgraph at the same time, with the same credentials, share one fetch. */
      SUBGRAPH_FETCH_SHARING: onOff('on'),
      /** Entity fetches of a request to one subgraph at one time become one. */
      SUBGRAPH_FETCH_MERGING: onOff('on'),
      /** Clients that send the same query at the same time, with the same credentials, are given one answer. */
      CLIENT_QUERY_SHARING: onOff('on'),
      /** Where the services' changes are heard of; without it (and outside `npm start`) nothing is cached. */
      NATS_URL: eventSettings.NATS_URL,
      /** Entities and root fields that subgraphs declare cacheable are kept until they change. */
      CACHE: onOff('on'),
      /** How much the cache of this process may hold, in bytes. */
      CACHE_MAX_BYTES: count(128 * MIB),
      /** A cache behind that one, which several gateways share. */
      REDIS_URL: z
        .string()
        .regex(/^rediss?:\/\//, 'wants a URL: redis://host:6379')
        .optional(),
      /** How stale answers may be where a request does not say; any staleness when left out. */
      MAX_STALENESS: z.string().optional(),
      /** Headers of clients that subgraphs are sent too. */
      PROPAGATED_HEADERS: headerRules,
      /** Labels of progressive `@override`s that are on. */
      OVERRIDE_LABELS: labels,
      MAX_OPERATION_TOKENS: count(20_000),
      MAX_OPERATION_DEPTH: count(50),
      MAX_OPERATION_ALIASES: count(1000),
      MAX_OPERATION_FIELDS: count(10_000),
      /** How many operations are kept planned. */
      MAX_OPERATIONS: count(10_000),
      NODE_ENV: z.string().default('development'),
      /** What a client sends as `x-explain` in production to be told how its answer came about; else any value does. */
      EXPLAIN_TOKEN: z.string().optional(),
      /** Sites whose pages may ask; "localhost" is this machine on any port, "*" everybody. */
      CORS_ORIGINS: origins,
    },
    { ...env, GATEWAY_PORT: env.GATEWAY_PORT || env.PORT },
  );
}

export type GatewayConfig = ReturnType<typeof readConfig>;

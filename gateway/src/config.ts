import { duration, host, logLevel, port, readEnvironment } from '@tributary/shared/config/environment';
import { z } from 'zod';

/** A service of the graph and where it answers. */
export interface Subgraph {
  readonly name: string;
  readonly url: string;
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

/** Reads the gateway's configuration from the environment. */
export function readConfig(env: NodeJS.ProcessEnv = process.env) {
  return readEnvironment(
    {
      HOST: host,
      /** PORT is understood too, as platforms set it. */
      GATEWAY_PORT: port(4000),
      /** Introspected and composed, unless SUPERGRAPH_PATH is set. */
      SUBGRAPHS: subgraphs,
      /** A file with a composed supergraph schema; then the gateway asks no subgraph for its schema. */
      SUPERGRAPH_PATH: z.string().optional(),
      SUPERGRAPH_POLL_INTERVAL: duration('5s'),
      SUBGRAPH_TIMEOUT: duration('5s'),
      /** Requests that want the same of a subgraph at the same time, with the same credentials, share one fetch. */
      SUBGRAPH_FETCH_SHARING: z.enum(['on', 'off']).default('on'),
      /** Sites whose pages may ask; "localhost" is this machine on any port, "*" everybody. */
      CORS_ORIGINS: origins,
      LOG_LEVEL: logLevel,
    },
    { ...env, GATEWAY_PORT: env.GATEWAY_PORT || env.PORT },
  );
}

export type GatewayConfig = ReturnType<typeof readConfig>;

import type { ServiceConsumers, ServiceParts } from '@tributary/events';
import type { HttpService } from '@tributary/server';
import type { Logger } from 'pino';
import type { SetUpRequest } from './set-up-database.js';

/** A service of the graph, as a program that runs several of them knows it. It is what `service.ts` of a service exports. */
export interface ServiceDefinition {
  /** Of the subgraph, the database and its role; the variables of its configuration begin with it. */
  readonly name: string;
  /** Where it answers on a developer's machine. */
  readonly port: number;
  /** Brings its database to the newest schema, and fills it. @returns whether it was filled now */
  readonly setUp: (request: SetUpRequest) => Promise<boolean>;
  /** @param env `<NAME>_PORT`, `<NAME>_URL` and `<NAME>_DATABASE_URL` of every service, and the secrets that they share */
  readonly create: (
    env: NodeJS.ProcessEnv,
    logger: Logger,
    parts: ServiceParts,
  ) => Promise<HttpService & Partial<ServiceConsumers>>;
}

import { type Health, systemTime, type Time, type Timer } from '@tributary/server';
import type { GraphQLSchema } from 'graphql';
import type { Logger } from 'pino';
import { Gauge, type Registry } from 'prom-client';
import { type PlannerChoice, toApiSchema } from '../planning/index.js';
import type { Fetcher, HttpSubgraph, Subgraph } from '../subgraph/index.js';
import {
  type SupergraphFallback,
  type SupergraphSource,
  schemaChanges,
  subgraphsOf,
  supergraphId,
} from '../supergraph/index.js';

/** A supergraph in service. */
export interface LoadedGraph<Graph> {
  /** Changes with the supergraph's text. */
  readonly id: string;
  readonly loadedAt: Date;
  /** What runs operations on it. */
  readonly graph: Graph;
  /** The schema that clients see. */
  readonly schema: GraphQLSchema;
  /** The names of its subgraphs. */
  readonly subgraphs: ReadonlySet<string>;
  readonly planner: PlannerChoice;
}

/** What a graph is built from. */
export interface GraphParts {
  readonly supergraphSdl: string;
  readonly apiSchema: GraphQLSchema;
  /** The clients of its subgraphs, by name. */
  readonly fetchers: ReadonlyMap<string, Fetcher>;
}

/** What the manager needs of what runs operations. */
export interface LoadableGraph {
  /** Loads what it needs before it serves. @throws when that fails */
  load(): Promise<PlannerChoice>;
}

/** How many operations were planned before a graph served, were invalid on it, could not be planned, or were not planned in time. */
export interface WarmUpReport {
  readonly planned: number;
  readonly invalid: number;
  readonly failed: number;
  readonly late: number;
  readonly durationMs: number;
}

/** Plans operations on a graph before it serves clients. */
export interface GraphWarmUp<Graph> {
  /** Never throws, and ends in bounded time. @returns null when there was nothing to plan */
  run(graph: Graph): Promise<WarmUpReport | null>;
  close(): Promise<void>;
}

export interface GraphManagerOptions<Graph extends LoadableGraph> {
  readonly source: SupergraphSource;
  /** Closed with the manager; null when there is none. */
  readonly fallback: SupergraphFallback | null;
  /** Run on each graph before it serves, and closed with the manager; null when there is none. */
  readonly warmUp: GraphWarmUp<Graph> | null;
  /** Connects to a subgraph; called once for each name and URL. */
  readonly connect: (subgraph: Subgraph) => HttpSubgraph;
  /** Builds what runs operations on a supergraph. It throws when that cannot be. */
  readonly createGraph: (parts: GraphParts) => Graph;
  readonly logger: Logger;
  readonly metrics: Registry;
  readonly health: Health;
  readonly time?: Time;
}

/** A subgraph's client, and the URL that it was created for. */
interface Connection {
  readonly url: string;
  readonly client: HttpSubgraph;
}

/**
 * Loads each supergraph that its source gives, and swaps the graph in service. A supergraph that cannot be loaded is reported at
 * `/health/ready`, and the one before stays in service.
 */
export class GraphManager<Graph extends LoadableGraph> {
  readonly #options: GraphManagerOptions<Graph>;
  readonly #time: Time;
  /** By subgraph: the newest connection. */
  readonly #connections = new Map<string, Connection>();
  /** Those before them, which requests in flight may still use. */
  readonly #earlierConnections: Connection[] = [];
  #loaded: LoadedGraph<Graph> | null = null;
  #loading: Promise<void> = Promise.resolve();
  #swapping: Promise<void> = Promise.resolve();
  #ending: Timer | undefined;

  constructor(options: GraphManagerOptions<Graph>) {
    this.#options = options;
    this.#time = options.time ?? systemTime;
    const { fallback, health, metrics } = options;
    health.add({
      name: 'supergraph',
      required: false,
      check: () => (this.#loaded ? (this.problem ?? fallback?.problem ?? null) : null),
    });
    const isStale = () => this.problem !== null;
    new Gauge({
      name: 'gateway_supergraph_stale',
      help: '1 while the newest supergraph could not be loaded and an older one (or none) is served',
      registers: [metrics],
      aggregator: 'max',
      collect() {
        this.set(isStale() ? 1 : 0);
      },
    });
  }

  /** The graph in service; null before the first one is loaded. */
  get loaded(): LoadedGraph<Graph> | null {
    return this.#loaded;
  }

  /** Why the newest supergraph is not in service; null when it is. */
  get problem(): string | null {
    return this.#options.source.problem;
  }

  /** The part of `/health/ready` that is about the supergraph. */
  get state() {
    const loaded = this.#loaded && {
      id: this.#loaded.id,
      loadedAt: this.#loaded.loadedAt,
      planner: this.#loaded.planner.name,
      ...(this.#loaded.planner.reason !== null && { plannerReason: this.#loaded.planner.reason }),
    };
    return { ready: loaded !== null, supergraph: loaded, problem: this.problem };
  }

  /** The client of a subgraph; undefined when no supergraph has named it. */
  subgraph(name: string): HttpSubgraph | undefined {
    return this.#connections.get(name)?.client;
  }

  /** Connects to a subgraph, unless that was done already, for its schema or its operations. */
  connect(subgraph: Subgraph): HttpSubgraph {
    const { name, url } = subgraph;
    const earlier = this.#connections.get(name);
    if (earlier?.url === url) return earlier.client;
    const connection = { url, client: this.#options.connect(subgraph) };
    if (earlier) this.#earlierConnections.push(earlier);
    else {
      const check = () => (this.#loaded?.subgraphs.has(name) ? (this.subgraph(name)?.problem ?? null) : null);
      this.#options.health.add({ name: `subgraph ${name}`, required: false, check });
    }
    this.#connections.set(name, connection);
    return connection.client;
  }

  /** Starts to load; resolves when a graph is in service, or when the manager was closed before. @throws when there can be none */
  load(): Promise<void> {
    this.#loading = this.#options.source.start((supergraphSdl) => this.#use(supergraphSdl));
    return this.#loading;
  }

  /** Puts a supergraph into service, after those before it. @throws when it cannot be loaded */
  #use(supergraphSdl: string): Promise<void> {
    const swap = this.#swapping.then(() => this.#swap(supergraphSdl));
    this.#swapping = swap.catch(() => undefined);
    return swap;
  }

  async #swap(supergraphSdl: string): Promise<void> {
    const id = supergraphId(supergraphSdl);
    const earlier = this.#loaded;
    if (earlier?.id === id) return;
    const apiSchema = toApiSchema(supergraphSdl);
    const used = subgraphsOf(supergraphSdl);
    const fetchers = new Map(used.map((subgraph) => [subgraph.name, this.connect(subgraph).execute] as const));
    const graph = this.#options.createGraph({ supergraphSdl, apiSchema, fetchers });
    const planner = await graph.load();
    const warmUp = (await this.#options.warmUp?.run(graph)) ?? null;
    const subgraphs = new Set(used.map(({ name }) => name));
    const changes = earlier && {
      joined: [...subgraphs].filter((name) => !earlier.subgraphs.has(name)),
      left: [...earlier.subgraphs].filter((name) => !subgraphs.has(name)),
      ...schemaChanges(earlier.schema, apiSchema),
    };
    this.#loaded = { id, loadedAt: new Date(this.#time.now()), graph, schema: apiSchema, subgraphs, planner };
    this.#options.logger.info(
      {
        supergraph: id,
        subgraphs: [...subgraphs],
        planner: planner.name,
        ...(planner.reason !== null && { plannerReason: planner.reason }),
        ...(warmUp && { warmUp }),
        ...changes,
      },
      'serving a new supergraph',
    );
  }

  /** Ends requests that still wait for a subgraph after this time, with an error: the gateway is about to be closed. */
  endIn(ms: number): void {
    this.#ending?.clear();
    const end = () => {
      void this.#options.source.stop();
      void this.#closeConnections();
    };
    this.#ending = this.#time.setTimeout(end, ms, { unref: true });
  }

  /** Ends whatever is left. */
  async close(): Promise<void> {
    this.#ending?.clear();
    const stopped = this.#options.source.stop();
    const warmUpClosed = this.#options.warmUp?.close();
    this.#options.fallback?.close();
    await this.#loading.catch(() => undefined);
    // Fetches of schemas end with the connections.
    await Promise.all([stopped, warmUpClosed, this.#closeConnections()]);
  }

  async #closeConnections(): Promise<void> {
    const connections = [...this.#connections.values(), ...this.#earlierConnections];
    await Promise.all(connections.map(({ client }) => client.close()));
  }
}

/** Serves a supergraph; resolves when it is served. @throws when it cannot be */
export type ServeSupergraph = (supergraphSdl: string) => Promise<void>;

/** The port to the place that supergraphs come from: a file, or running subgraphs. */
export interface SupergraphSource {
  /** Why the newest supergraph is not served; null when it is. */
  readonly problem: string | null;
  /**
   * Starts to read supergraphs, and calls back with the SDL of each new one.
   *
   * @param onSupergraph serves a supergraph, in the order of its calls. It rejects when it cannot; then the source reports that as its `problem`, and the supergraph
   *   that was served before stays.
   * @returns resolves when the first supergraph is served, or when the source is stopped before
   * @throws when there can be none
   */
  start(onSupergraph: ServeSupergraph): Promise<void>;
  /** Ends reading, and a start that waits. Resolves when nothing more is read. */
  stop(): Promise<void>;
}

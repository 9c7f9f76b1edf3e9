/** What changed in a service: the entities of the graph that its events from one position to another touched. */
export interface Invalidations {
  /** The position before the first of the events; the same as `to` when there are none, which says that nothing happened. */
  readonly from: number;
  readonly to: number;
  /**
   * Everything that was committed before this time, in milliseconds since 1970, is at or below `to`; taken before the owner looked.
   * 0 when it is not known of any time: more follows at once.
   */
  readonly at: number;
  /** The term of the relay that says so, where a relay does; those of an earlier term than one that was heard of are ignored. */
  readonly term?: number;
  readonly touched: readonly Invalidation[];
}

export interface Invalidation {
  readonly position: number;
  /** `Type:id` of every entity with a field, in this service, that the event may have changed. */
  readonly entities: readonly string[];
  /** The personal data of these entities was erased: every listener that keeps any of it deletes it. */
  readonly erased?: true;
}

/** Hears what changes in services. What it does not hear (the positions then have a gap) is not told again. */
export interface InvalidationListener {
  onInvalidations(source: string, invalidations: Invalidations): void;
}

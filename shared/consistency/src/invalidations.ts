/** The entities that a service's events between two positions may have changed. */
export interface Invalidations {
  /** The position before the first event; equal to `to` when there are no events. */
  readonly from: number;
  readonly to: number;
  /**
   * Milliseconds since 1970: everything committed before this time has a position up to `to`. Measured before the owner read its
   * database. 0 when that holds for no time: more invalidations follow at once.
   */
  readonly at: number;
  /** The term of the relay that sent them; absent in a response's header. Those of an earlier term are ignored. */
  readonly term?: number;
  readonly touched: readonly Invalidation[];
}

export interface Invalidation {
  readonly position: number;
  /** `Type:id` of every entity with a field, in this service, that the event may have changed. */
  readonly entities: readonly string[];
  /** The personal data of these entities was erased: caches delete what they have of it. */
  readonly erased?: true;
}

/** Receives invalidations. What it misses is not sent again: the positions then have a gap. */
export interface InvalidationListener {
  onInvalidations(source: string, invalidations: Invalidations): void;
}

/** What changed in a service: the entities of the graph that its events from one position to another touched. */
export interface Touches {
  /** The position before the first of the events; the same as `to` when there are none, which says that nothing happened. */
  readonly from: number;
  readonly to: number;
  /** Everything that was committed before this time, in milliseconds since 1970, is at or below `to`; taken before the owner looked. */
  readonly at: number;
  readonly touched: readonly Touch[];
}

export interface Touch {
  readonly position: number;
  /** `Type:id` of every entity with a field, in this service, that the event may have changed. */
  readonly entities: readonly string[];
}

/** Hears what changes in services. What it does not hear (the positions then have a gap) is not told again. */
export interface TouchListener {
  onTouches(source: string, touches: Touches): void;
}

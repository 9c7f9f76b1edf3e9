import type { LoggedEvent } from '@tributary/bus';
import type { Kysely } from 'kysely';
import type { EventLog } from '../event-log/event-log-client.js';

/** Registers a function that runs after the transaction has committed, for example to count. It does not run after a rollback. */
export type OnCommit = (run: () => void) => void;

/**
 * Applies events of one source, in order: all of them or (by throwing) none.
 *
 * @param onCommit absent in repairs and operators' commands, which count nothing
 */
export type ApplyEvents<Tables> = (
  transaction: Kysely<Tables>,
  events: readonly LoggedEvent[],
  onCommit?: OnCommit,
) => Promise<void>;

/** The events of another service that a service applies. */
export interface EventSubscription<Tables> {
  /** The service that owns the events. */
  readonly source: string;
  readonly eventLog: EventLog;
  /** Whether an event may have an effect here; other events are skipped. */
  readonly filter: (event: LoggedEvent) => boolean;
  /** Called with events that pass the filter. */
  readonly apply: ApplyEvents<Tables>;
}

import type { LoggedEvent } from '@tributary/bus';
import type { Kysely } from 'kysely';
import type { EventLogClient } from '../event-log/event-log-client.js';

/** Registers what is done once the transaction has committed: counting, for instance. A transaction that is rolled back does nothing of it. */
export type OnCommit = (run: () => void) => void;

/**
 * Gives events their effect, in order, all of them or (by throwing) none. They are of one source.
 *
 * @param onCommit left out where nothing is to be counted: by repairs and commands beside the service
 */
export type ApplyEvents<Tables> = (
  transaction: Kysely<Tables>,
  events: readonly LoggedEvent[],
  onCommit?: OnCommit,
) => Promise<void>;

/** What a service takes from the event log of another. */
export interface EventSubscription<Tables> {
  /** The service whose events these are. */
  readonly source: string;
  readonly eventLog: EventLogClient;
  /** Whether an event may have an effect here; the others are passed over. */
  readonly filter: (event: LoggedEvent) => boolean;
  /** Given wanted events only. */
  readonly apply: ApplyEvents<Tables>;
}

import { Fault, type Health, type Time } from '@tributary/server';
import type { Logger } from 'pino';

/** Events that wait for a shorter time are not reported. */
const PATIENCE_MS = 1000;
/** A declared consumer without a position is reported after this time, or once it keeps an event from being deleted. */
const RETENTION_PATIENCE_MS = 60_000;

export interface RelayFaultsOptions {
  readonly source: string;
  readonly logger: Logger;
  readonly health: Health;
  readonly retentionMs: number;
  readonly time: Time;
}

/** The faults of one relay: each is logged when it begins and when it ends; three of them degrade the health. */
export class RelayFaults {
  /** Events are not published. */
  readonly waits: Fault;
  /** Invalidations could not be sent. */
  readonly notInvalidated: Fault;
  /** The bus may still have erased personal data. */
  readonly unpurged: Fault;
  /** Retention deletes nothing. */
  readonly unretained: Fault;
  /** Events do not fit into the bus. */
  readonly tooLarge: Fault;

  constructor({ source, logger, health, retentionMs, time }: RelayFaultsOptions) {
    this.waits = new Fault({
      logger,
      time,
      began: 'events wait in the outbox',
      ended: 'events are published again',
      patienceMs: PATIENCE_MS,
    });
    this.notInvalidated = new Fault({
      logger,
      time,
      level: 'error',
      began: 'the invalidations of some events could not be sent; caches discard what they have of this service',
      ended: 'invalidations are sent again',
    });
    this.unpurged = new Fault({
      logger,
      time,
      began: 'erased personal data could not be purged from the event bus yet; the purge is repeated',
      ended: 'erased personal data was purged from the event bus',
    });
    this.unretained = new Fault({
      logger,
      time,
      began: 'retention deletes no events',
      ended: 'retention deletes events again',
      patienceMs: Math.min(RETENTION_PATIENCE_MS, retentionMs),
    });
    this.tooLarge = new Fault({
      logger,
      time,
      began: 'events are too large for the event bus; consumers read them from the event log',
      ended: 'events fit into the event bus again',
      details: { source },
    });
    const check = (name: string, fault: Fault, meaning: string) =>
      health.add({
        name,
        required: false,
        check: () => (fault.cause === null ? null : `${meaning}: ${fault.cause}`),
      });
    check('events', this.waits, 'events wait in the outbox');
    check('erasure from the event bus', this.unpurged, 'the event bus keeps erased personal data for now');
    check('retention', this.unretained, 'no events are deleted');
  }

  /** Another relay leads, and reports these from now on. */
  leaveToLeader(): void {
    for (const fault of [this.unpurged, this.unretained, this.tooLarge]) fault.worked();
  }

  stop(): void {
    for (const fault of [this.waits, this.notInvalidated, this.unpurged, this.unretained, this.tooLarge]) fault.stop();
  }
}

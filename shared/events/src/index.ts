export { ConsumerOperations } from './consumer/consumer-operations.js';
export type { Freshness } from './consumer/copy-state.js';
export type { ApplyEvents, EventSubscription } from './consumer/event-subscription.js';
export type { Gap } from './consumer/gap.js';
export { addInSyncTimes, createConsumerTables } from './consumer/positions.js';
export { type AggregateState, MAX_IDS } from './copies/aggregates.js';
export {
  type AuditCheck,
  deadLetterCheck,
  type Finding,
  IncompleteAuditError,
  inOneLine,
  MAX_FINDINGS,
  runChecks,
} from './copies/audit.js';
export { type RebuildableCopy, rebuildCopy } from './copies/rebuild.js';
export {
  BETWEEN_LOOKS_MS,
  type Comparison,
  compareOnce,
  type Difference,
  findDifferences,
  LOOKS,
  repairDifferences,
  stateEvent,
  type VerifiableCopy,
} from './copies/verify.js';
export { type EventLogClient, eventLogClient } from './event-log/event-log-client.js';
export { type EventSettings, eventLogConsumers, eventSettings } from './event-settings.js';
export { originOf } from './origin.js';
export { createRelayLease } from './outbox/lease.js';
export { createNumbering, createOutbox, eraseFromEvents, type NewEvent, recordEvents } from './outbox/outbox.js';
export type { InvalidatedBy } from './relay/invalidation-of.js';
export {
  consumeEvents,
  ownEventBus,
  publishEvents,
  type ServiceConsumers,
  type ServiceParts,
} from './service-events.js';

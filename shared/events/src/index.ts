// A service's publishing and consuming, as a whole.

// The consumer: applies the events of another service.
export { ConsumerMetrics } from './consumer/consumer-metrics.js';
// What operators do about a consumer: dead letters, and gaps that retention left.
export { ConsumerOperations } from './consumer/consumer-operations.js';
export { type ConsumerStore, databaseConsumerStore } from './consumer/consumer-store.js';
export type { Freshness } from './consumer/copy-state.js';
export type { DeadLetterStore } from './consumer/dead-letter-store.js';
export { type ConsumerOptions, EventConsumer } from './consumer/event-consumer.js';
export type { ApplyEvents, EventSubscription } from './consumer/event-subscription.js';
export type { Gap } from './consumer/gap.js';
export { addInSyncTimes, createConsumerTables } from './consumer/positions.js';
// Copies: comparison with their owners, repair, rebuild.
export { type AggregateState, MAX_IDS, type StateSource } from './copies/aggregates.js';
// Audits: rules that a service's database keeps at every moment.
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
export type { Audit as VerificationAudit } from './copies/scheduled-verification.js';
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
// Event logs of other services, over HTTP.
export { type EventLog, type EventLogClient, eventLogClient } from './event-log/event-log-client.js';
// Settings.
export { type EventSettings, eventLogConsumers, eventSettings } from './event-settings.js';
// The outbox: events are recorded in the transaction that they are about.
export { originOf } from './origin.js';
export { createRelayLease } from './outbox/lease.js';
export { createNumbering, createOutbox, eraseFromEvents, type NewEvent, recordEvents } from './outbox/outbox.js';
// The relay: assigns positions, publishes, sends invalidations.
export type { InvalidatedBy } from './relay/invalidation-of.js';
export { databaseOutbox, type OutboxStore } from './relay/outbox-store.js';
export { Relay, type RelayOptions } from './relay/relay.js';
// A saga's steps: commands of another service, each applied once per order.
export { type Refusal, type SagaStep, SagaSteps, type SagaStepTable } from './saga-steps.js';
export {
  consumeEvents,
  ownEventBus,
  publishEvents,
  type ServiceConsumers,
  type ServiceEventsOptions,
  type ServiceParts,
} from './service-events.js';

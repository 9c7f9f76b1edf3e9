export { reportBus } from './bus-health.js';
export { causedBy, isErased, type LedgerEvent, ledgerEventSchema, NO_ORIGIN, type Origin } from './event.js';
export type { EventBus, EventListener, LedgerHead } from './event-bus.js';
export { InProcessBus } from './in-process-bus.js';
export { NatsBus } from './nats/nats-bus.js';
export { natsUrl } from './nats/nats-url.js';
export { SenderClock } from './sender-clock.js';

// Events, and what they record of their cause.

// Reports of a bus at `/health/ready` and `/metrics`.
export { reportBus } from './bus-health.js';
export { causedBy, isErased, type LoggedEvent, loggedEventSchema, NO_ORIGIN, type Origin } from './event.js';
// The port of the event bus.
export type { EndPosition, EventBus, EventListener } from './event-bus.js';
// Its two implementations: in memory, and NATS JetStream with the setting of its address.
export { InProcessBus } from './in-process-bus.js';
export { NatsBus } from './nats/nats-bus.js';
export { natsUrl } from './nats/nats-url.js';

// Times that a message's sender measured, translated to this process's clock.
export { SenderClock } from './sender-clock.js';

export { reportBus } from './bus-health.js';
export { causedBy, isErased, type LoggedEvent, loggedEventSchema, NO_ORIGIN, type Origin } from './event.js';
export type { EndPosition, EventBus, EventListener } from './event-bus.js';
export { InProcessBus } from './in-process-bus.js';
export { NatsBus } from './nats/nats-bus.js';
export { natsUrl } from './nats/nats-url.js';
export { SenderClock } from './sender-clock.js';

import type { Logger } from 'pino';
import { z } from 'zod';
import { duration } from '../config/environment.js';
import type { EventBus } from './event-bus.js';
import { InProcessBus } from './in-process-bus.js';
import { NatsBus } from './nats-bus.js';

/** What every service that publishes or consumes events reads from its environment. */
export const eventSettings = {
  /** NATS with JetStream; without it events travel inside the process, and between processes through the ledgers alone. */
  NATS_URL: z
    .string()
    .regex(/^(nats|tls):\/\//, 'wants a URL: nats://host:4222')
    .optional(),
  /** Shared by the services of the graph: who sends it may read their ledgers. */
  INTERNAL_SECRET: z.string().min(16, 'wants at least 16 characters').optional(),
  /** How often a consumer looks at the ledger in case the bus brought nothing. */
  EVENT_POLL_INTERVAL: duration('1s'),
  /** How long events are kept after every consumer has applied them; 0 keeps them for ever. */
  LEDGER_RETENTION: duration('0'),
  /** How often a service compares its copies with their owners; 0: never. */
  VERIFY_INTERVAL: duration('1h'),
};

export type EventSettings = z.infer<z.ZodObject<typeof eventSettings>>;

/** The event bus that the settings ask for. */
export function openEventBus(settings: EventSettings, name: string, logger: Logger): EventBus {
  return settings.NATS_URL ? new NatsBus({ url: settings.NATS_URL, name, logger }) : new InProcessBus();
}

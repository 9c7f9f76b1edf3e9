import type { Logger } from 'pino';
import { z } from 'zod';
import { duration } from '../config/environment.js';
import type { EventBus } from './event-bus.js';
import { InProcessBus } from './in-process-bus.js';
import { NatsBus } from './nats-bus.js';

/** NATS with JetStream; without it events travel inside the process, and between processes through the ledgers alone. */
export const natsUrl = z
  .string()
  .regex(/^(nats|tls):\/\//, 'wants a URL: nats://host:4222')
  .optional();

/** What every service that publishes or consumes events reads from its environment. */
export const eventSettings = {
  NATS_URL: natsUrl.describe(
    '`nats://host:4222`, with JetStream; without it events travel inside one process, and between processes by the ledgers alone',
  ),
  INTERNAL_SECRET: z
    .string()
    .min(16, 'wants at least 16 characters')
    .optional()
    .describe(
      'at least 16 characters, the same for all services: who sends it may read their ledgers. Set it wherever others reach their ports',
    ),
  EVENT_POLL_INTERVAL: duration('1s').describe('how often a ledger is read in case the bus brought nothing'),
  LEDGER_RETENTION: duration('0s').describe('how long events are kept after every consumer applied them; 0: for ever'),
  VERIFY_INTERVAL: duration('1h').describe('how often copies are compared with their owners; 0: never'),
};

export type EventSettings = z.infer<z.ZodObject<typeof eventSettings>> & {
  readonly LEDGER_CONSUMERS?: readonly string[] | undefined;
};

/** The services that read a service's event log, as its deployment declares them. */
export const ledgerConsumers = (preset: string) =>
  z
    .string()
    .regex(/^[\w-]+(\s*,\s*[\w-]+)*$/, 'expected names of services, such as users,products')
    .default(preset)
    .transform((names) => names.split(',').map((name) => name.trim()))
    .describe(
      'the services that read this event log: with `LEDGER_RETENTION`, no event is deleted before each of them applied it',
    );

/** The event bus that the settings ask for. */
export function openEventBus(settings: EventSettings, name: string, logger: Logger): EventBus {
  return settings.NATS_URL ? new NatsBus({ url: settings.NATS_URL, name, logger }) : new InProcessBus();
}

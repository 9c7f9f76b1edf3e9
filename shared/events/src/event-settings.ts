import { natsUrl } from '@tributary/bus';
import { duration, listSetting, secret } from '@tributary/server';
import type { z } from 'zod';

/** What every service that publishes or consumes events reads from its environment. */
export const eventSettings = {
  NATS_URL: natsUrl.describe(
    'NATS server with JetStream: `nats://host:4222`. Without it, services in one process exchange events in memory, and others read the event logs over HTTP.',
  ),
  INTERNAL_SECRET: secret(16).describe(
    'Secret that gives access to the event logs, at least 16 characters, the same for all services. Set it if others can reach the ports of the services.',
  ),
  EVENT_POLL_INTERVAL: duration('1s', { min: '1ms' }).describe(
    'Interval at which a service reads the event logs of others if NATS delivers nothing.',
  ),
  EVENT_LOG_RETENTION: duration('0s', { max: '36500d' })
    .describe('Time for which events are stored after every consumer has applied them; 0 disables deletion.')
    .meta({ formerly: 'LEDGER_RETENTION' }),
  VERIFY_INTERVAL: duration('1h').describe('Interval at which copies are compared with their sources; 0 disables it.'),
};

export type EventSettings = z.infer<z.ZodObject<typeof eventSettings>> & {
  readonly EVENT_LOG_CONSUMERS?: readonly string[] | undefined;
};

/** The services that read a service's event log, as its deployment declares them. */
export const eventLogConsumers = (preset: string) =>
  listSetting('names of services such as users,products', (name) => (/^[\w-]+$/.test(name) ? name : undefined), preset)
    .describe(
      'Services that read this event log. With `EVENT_LOG_RETENTION`, an event is deleted only after each of them has applied it.',
    )
    .meta({ formerly: 'LEDGER_CONSUMERS' });

import { urlSetting } from '@tributary/server';

/** NATS with JetStream; without it events travel inside the process, and between processes through the event logs alone. */
export const natsUrl = urlSetting(['nats', 'tls'], 'nats://host:4222').optional();

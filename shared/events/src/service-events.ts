import { type EventBus, InProcessBus, type LoggedEvent, NatsBus, reportBus } from '@tributary/bus';
import { openDatabase, type StatementListener } from '@tributary/postgres';
import { type HttpService, settledWithin, systemTime, type Time } from '@tributary/server';
import type { Kysely } from 'kysely';
import type { Logger } from 'pino';
import { ConsumerMetrics } from './consumer/consumer-metrics.js';
import { databaseConsumerStore } from './consumer/consumer-store.js';
import { DeadLetterWatch } from './consumer/dead-letter-watch.js';
import { EventConsumer } from './consumer/event-consumer.js';
import type { EventSubscription } from './consumer/event-subscription.js';
import type { StateSource } from './copies/aggregates.js';
import { type AuditCheck, openAuditDatabase } from './copies/audit.js';
import { type Audit, scheduleVerification } from './copies/scheduled-verification.js';
import type { VerifiableCopy } from './copies/verify.js';
import { serveEventLog } from './event-log/event-log-endpoint.js';
import type { EventSettings } from './event-settings.js';
import { measureUnpublishedEvents } from './outbox/unpublished-events.js';
import { reportPositions, waitForCopies } from './read-positions.js';
import { databaseOutbox } from './relay/outbox-store.js';
import { Relay } from './relay/relay.js';

/** How long the consumers' stop waits for running work; less than a service waits for a part to close. */
const STOP_MS = 800;

/** What a program that runs several services in one process hands to each of them; a service alone makes its own. */
export interface ServiceParts {
  readonly bus?: EventBus;
  /** Called with every SQL statement that answers a request. */
  readonly onStatement?: StatementListener;
}

/** The event bus of a service that runs alone; it is closed with the service. */
export function ownEventBus(service: HttpService, name: string, settings: EventSettings, logger: Logger): EventBus {
  const bus = settings.NATS_URL ? new NatsBus({ url: settings.NATS_URL, name, logger }) : new InProcessBus();
  service.onClose('event bus', () => bus.close());
  return bus;
}

export interface ServiceEventsOptions {
  readonly name: string;
  readonly databaseUrl: string;
  readonly settings: EventSettings;
  readonly bus: EventBus;
  readonly logger: Logger;
  /** The entities of the graph with a field, in this service, that an event may have changed: `Type:id`. */
  readonly invalidatedBy: (event: LoggedEvent) => readonly string[];
  /** The system's time by default. */
  readonly time?: Time;
}

/**
 * Publishes a service's outbox while it listens, and serves its event log.
 *
 * @param views for each aggregate type, a view of what the service has of it now, to compare copies with
 * @param checks what the service's own database must fulfil, for `GET /audit`
 */
export function publishEvents(
  service: HttpService,
  { name, databaseUrl, settings, bus, logger, invalidatedBy, time = systemTime }: ServiceEventsOptions,
  views: Readonly<Record<string, StateSource>>,
  checks: readonly AuditCheck[] = [],
): void {
  const db = openBackgroundDatabase<unknown>(name, databaseUrl);
  const relay = new Relay({
    source: name,
    store: databaseOutbox({ source: name, databaseUrl, db }),
    bus,
    logger,
    metrics: service.metrics,
    health: service.health,
    invalidatedBy,
    retentionMs: settings.EVENT_LOG_RETENTION,
    consumers: settings.EVENT_LOG_CONSUMERS ?? [],
    time,
  });
  measureUnpublishedEvents(db, service.metrics);
  reportBus(service, bus);
  reportPositions(service.app, { source: name, db, bus, invalidatedBy, time });
  serveEventLog(service.app, name, db, views, settings.INTERNAL_SECRET, { databaseUrl, checks });
  service.app.addHook('onListen', async () => relay.start());
  service.onClose('relay', async () => {
    await relay.stop();
    await db.destroy();
  });
}

/** The consumers of a service. */
export interface ServiceConsumers {
  /** Resolves when every copy has reached the end of its owner's event log once. */
  readonly caughtUp: Promise<unknown>;
  /** Resolves when every copy was in sync with its owner once, in this process or in an earlier one: it has no holes. */
  readonly inSyncOnce: Promise<unknown>;
}

/**
 * Applies other services' events while the service listens, and compares `copies` with their owners. The service is not ready
 * before each of `copies` was in sync once, and reports at `/health/ready` which copy lags behind its owner.
 *
 * @param audit run after each comparison
 */
export function consumeEvents<Tables>(
  service: HttpService,
  subscriptions: readonly EventSubscription<Tables>[],
  copies: readonly VerifiableCopy<Tables>[],
  { name, databaseUrl, settings, bus, logger, time = systemTime }: ServiceEventsOptions,
  audit?: Audit<Tables>,
): ServiceConsumers {
  const cut = new AbortController();
  const db = openBackgroundDatabase<Tables>(name, databaseUrl, cut.signal);
  const metrics = new ConsumerMetrics(service.metrics);
  const pollIntervalMs = settings.EVENT_POLL_INTERVAL;
  const consumers = subscriptions.map(
    (subscription) =>
      new EventConsumer<Tables>({
        name,
        subscription,
        store: databaseConsumerStore(db, name, subscription.source, time),
        bus,
        pollIntervalMs,
        logger,
        metrics,
        time,
      }),
  );
  for (const [i, { source }] of subscriptions.entries()) {
    const effect = 'a clock that is behind makes the copy look older than it is';
    service.clocks.add({ source, offsetMs: () => consumers[i]?.ownerClockOffsetMs ?? null, effect });
  }
  waitForCopies(
    service.app,
    new Map(consumers.map((consumer, i) => [(subscriptions[i] as EventSubscription<Tables>).source, consumer])),
    time,
  );
  for (const [i, { source }] of subscriptions.entries()) {
    const consumer = consumers[i] as EventConsumer<Tables>;
    const isNeeded = copies.some((copy) => copy.source === source);
    const check = (required: boolean) => () => {
      const { everInSync, problem } = consumer.freshness;
      return (isNeeded && !everInSync) === required ? problem : null;
    };
    for (const required of [true, false]) {
      service.health.add({ name: `copy of ${source}`, required, check: check(required) });
    }
  }
  // For operators, and for clients that need to know how fresh a response is.
  service.app.get('/copies', async () =>
    Object.fromEntries(subscriptions.map(({ source }, i) => [source, consumers[i]?.freshness])),
  );
  const caughtUp = Promise.all(consumers.map((consumer) => consumer.caughtUp));
  const openComparison = (stopped: AbortSignal) =>
    openAuditDatabase<Tables>(databaseUrl, `tributary-${name}-verify`, stopped);
  const verification = scheduleVerification(openComparison, copies, {
    intervalMs: settings.VERIFY_INTERVAL,
    after: caughtUp,
    logger,
    metrics: service.metrics,
    health: service.health,
    audit,
    time,
  });
  // Before it listens, so that a service that may serve is ready at once.
  service.app.addHook('onReady', async () => {
    await Promise.all(consumers.map((consumer) => consumer.recall()));
  });
  const { metrics: registry, health } = service;
  // A service that consumes nothing has no tables for it.
  const deadLetters =
    subscriptions.length === 0
      ? undefined
      : new DeadLetterWatch({ db, consumer: name, subscriptions, logger, metrics: registry, health, time });
  service.app.addHook('onListen', async () => {
    await Promise.all(consumers.map((consumer) => consumer.start()));
    deadLetters?.start();
  });
  service.onClose('consumers', async () => {
    const stops = [...(deadLetters ? [deadLetters] : []), verification, ...consumers].map((each) => each.stop());
    await settledWithin(STOP_MS, stops, time);
    // Work that still hangs loses its connection.
    cut.abort();
    await db.destroy();
  });
  return { caughtUp, inSyncOnce: Promise.all(consumers.map((consumer) => consumer.inSyncOnce)) };
}

/** Apart from the pool that answers requests, so that neither waits for the other. */
function openBackgroundDatabase<Tables>(name: string, url: string, signal?: AbortSignal): Kysely<Tables> {
  return openDatabase<Tables>({
    url,
    applicationName: `tributary-${name}-events`,
    maxConnections: 4,
    ...(signal && { signal }),
  });
}

import { type EventBus, NatsBus, reportBus } from '@tributary/bus';
import { type HttpService, systemTime } from '@tributary/server';
import type { Logger } from 'pino';
import { EntityCache, Erasures, InvalidationLog, IoredisClient, TieredStore } from './cache/index.js';
import type { GatewayConfig } from './config.js';

/**
 * Opens the cache that the settings describe; it is closed with the gateway.
 *
 * @param givenBus carries invalidations; without it, NATS does
 * @returns null when it is disabled, or when nothing carries invalidations
 */
export async function openCache(
  config: GatewayConfig,
  logger: Logger,
  { clocks, health, metrics, onClose }: HttpService,
  givenBus: EventBus | undefined,
): Promise<EntityCache | null> {
  const { NATS_URL, REDIS_URL, REDIS_PREFIX, CACHE, CACHE_MAX_BYTES, SUBGRAPHS, SUPERGRAPH_PATH } = config;
  if (!CACHE || SUPERGRAPH_PATH || !(givenBus || NATS_URL)) return null;
  const time = systemTime;
  const ownBus = givenBus ? null : new NatsBus({ url: NATS_URL as string, name: 'gateway', logger });
  const log = new InvalidationLog(metrics, logger, time);
  const redis = REDIS_URL ? new IoredisClient(REDIS_URL, REDIS_PREFIX) : null;
  const store = new TieredStore({ maxBytes: CACHE_MAX_BYTES, redis, logger, metrics, time });
  const erasures = new Erasures(store, log, time);
  log.observe(erasures);
  const sources = SUBGRAPHS.map(({ name }) => name);
  const bus = (givenBus ?? ownBus) as EventBus;
  reportBus({ health, metrics }, bus);
  if (REDIS_URL) health.add({ name: 'Redis', required: false, check: () => store.redis?.problem ?? null });
  for (const source of sources) {
    health.add({ name: `source ${source}`, required: false, check: () => log.problem(source) });
    const effect = 'nothing of a service whose clock is more than 1.5 s behind is cached';
    clocks.add({ source, offsetMs: () => log.clockOffsetMs(source), effect });
  }
  await log.subscribe(bus, sources);
  onClose('cache', async () => {
    log.stop();
    erasures.close();
    store.close();
    await ownBus?.close();
  });
  return new EntityCache(store, log, metrics, time);
}

import { performance } from 'node:perf_hooks';
import type { FastifyInstance } from 'fastify';

/** Something that a process depends on, as `/health/ready` shows it. */
export interface HealthCheck {
  /** What is checked, as operators call it: `event bus`, `copy of users`. */
  readonly name: string;
  /** `required`: without it the process is not ready, and a load balancer sends it nothing. Otherwise it is degraded, and serves. */
  readonly required: boolean;
  /** Why it is unhealthy, in one sentence; null when it is healthy. It returns the last state and waits for nothing. */
  readonly check: () => string | null;
}

/** The reasons of the checks that fail, by the name of the check. */
export type HealthReasons = Readonly<Record<string, string>>;

/** The checks of a process; each part adds its own. */
export class Health {
  readonly #checks: HealthCheck[] = [];

  add(check: HealthCheck): void {
    this.#checks.push(check);
  }

  /** What keeps the process from being ready, and what degrades it. */
  read(): { readonly notReady: HealthReasons; readonly degraded: HealthReasons } {
    const notReady: Record<string, string> = {};
    const degraded: Record<string, string> = {};
    for (const { name, required, check } of this.#checks) {
      const reason = check();
      if (reason !== null) (required ? notReady : degraded)[name] = reason;
    }
    return { notReady, degraded };
  }
}

/** What a process reports of itself at `/health/ready`. */
export interface Readiness {
  readonly ready: boolean;
  readonly [detail: string]: unknown;
}

export interface HealthRoutesOptions {
  readonly name: string;
  readonly health: Health;
  readonly readiness: () => Promise<Readiness>;
  /** Whether the process is shutting down. */
  readonly isDraining: () => boolean;
}

/** Serves `/health/live` and `/health/ready`. Ready and degraded are 200: a degraded process serves what it can. Not ready is 503. */
export function serveHealth(app: FastifyInstance, { name, health, readiness, isDraining }: HealthRoutesOptions): void {
  const startedAt = performance.now();
  app.get('/health/live', async () => ({ status: 'live', service: name, uptimeSeconds: secondsSince(startedAt) }));
  app.get('/health/ready', async (_request, reply) => {
    const { ready, ...details } = isDraining() ? { ready: false, reason: 'it is about to end' } : await readiness();
    const { notReady, degraded } = health.read();
    const isReady = ready && Object.keys(notReady).length === 0;
    const isDegraded = Object.keys(degraded).length > 0;
    return reply.status(isReady ? 200 : 503).send({
      status: isReady ? (isDegraded ? 'degraded' : 'ready') : 'not ready',
      service: name,
      ...details,
      ...(Object.keys(notReady).length > 0 && { notReady }),
      ...(isDegraded && { degraded }),
    });
  });
}

function secondsSince(start: number): number {
  return Math.round((performance.now() - start) / 100) / 10;
}

// The load: clients that wait for each answer (closed loop), or requests at a fixed rate, however many are still waiting (open loop).
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';

const TIMEOUT_MS = 15_000;
/** Most requests in flight in the open loop; those beyond are counted as dropped. */
const MAX_IN_FLIGHT = 2000;

export class Load {
  /** Of every request: when it began, how long it took, whether it failed, in milliseconds since the load began. */
  samples = [];
  /** By code of the error. */
  errors = new Map();
  byOperation = new Map();
  dropped = 0;
  underWay = 0;
  startedAt = performance.now();

  constructor(url, next) {
    this.url = `${url}/graphql`;
    this.next = next;
  }

  /** A number of clients, until a time. */
  async closed(clients, ms) {
    const until = performance.now() + ms;
    const client = async () => {
      while (performance.now() < until) await this.#one();
    };
    await Promise.all(Array.from({ length: clients }, client));
  }

  /** So many requests a second, until a time. */
  async open(rate, ms) {
    const begun = performance.now();
    const pending = new Set();
    for (let n = 0; ; n++) {
      const due = begun + (n * 1000) / rate;
      if (due > begun + ms) break;
      const wait = due - performance.now();
      if (wait > 1) await sleep(wait);
      if (pending.size >= MAX_IN_FLIGHT) this.dropped += 1;
      else {
        // From when it was due: a late start is waiting, too.
        const one = this.#one(due).finally(() => pending.delete(one));
        pending.add(one);
      }
    }
    await Promise.all(pending);
  }

  async #one(begun = performance.now()) {
    const { name, query, variables } = this.next();
    this.underWay += 1;
    let code = null;
    try {
      const response = await fetch(this.url, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ query, variables }),
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      const { errors } = await response.json();
      if (errors) code = errors[0].extensions?.code ?? 'ERROR';
      else if (!response.ok) code = `HTTP_${response.status}`;
    } catch (error) {
      code = error.name === 'TimeoutError' ? 'CLIENT_TIMEOUT' : (error.cause?.code ?? error.name);
    }
    this.underWay -= 1;
    const tookMs = performance.now() - begun;
    this.samples.push({ at: begun - this.startedAt, tookMs, failed: code !== null });
    if (code !== null) this.errors.set(code, (this.errors.get(code) ?? 0) + 1);
    const times = this.byOperation.get(name) ?? [];
    times.push(tookMs);
    this.byOperation.set(name, times);
  }
}

/** A percentile of numbers; NaN of none. */
export function percentile(numbers, share) {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

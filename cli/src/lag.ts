import { z } from 'zod';
import type { OperateOptions } from './operations.js';
import { print } from './output.js';
import { findServiceUrls } from './running-stack.js';

const TIMEOUT_MS = 5000;

const copiesSchema = z.record(
  z.string(),
  z.object({ position: z.number(), head: z.number(), lagSeconds: z.number(), problem: z.string().nullish() }),
);

/** How far a service has read the event log of another one. */
interface Lag {
  readonly consumer: string;
  readonly source: string;
  /** The last event that took effect. */
  readonly position: number;
  /** The last event of the source that the consumer has seen announced. */
  readonly head: number;
  readonly behind: number;
  readonly lagSeconds: number;
  /** Why the consumer may be behind; null while it follows its source. */
  readonly problem: string | null;
}

/** Prints how far each service's copies are; exit status 1 when a service does not respond. */
export async function showLag(options: OperateOptions): Promise<void> {
  const services = Object.entries(findServiceUrls(options.dataDir));
  const answers = await Promise.allSettled(services.map(([name, url]) => lagOf(name, url)));
  const found = answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []));
  const rows = found.map(({ consumer, source, position, head, behind, lagSeconds, problem }) => ({
    consumer,
    source,
    position,
    head,
    behind,
    'lag (s)': lagSeconds.toFixed(1),
    problem,
  }));
  // A service that does not respond may consume events, so the empty message would be wrong.
  const isComplete = answers.every(({ status }) => status === 'fulfilled');
  if (options.json || isComplete || rows.length > 0)
    print(found, { ...options, rows, empty: 'No service consumes events.' });
  for (const [i, answer] of answers.entries()) {
    if (answer.status === 'fulfilled') continue;
    const [name, url] = services[i] as [string, string];
    const line = `Cannot read the lag of ${name} at ${url} (${reasonOf(answer.reason)}).\n`;
    process.stderr.write(withoutCredentials(line));
    process.exitCode = 1;
  }
}

/** A text without the credentials in its URLs. */
function withoutCredentials(text: string): string {
  return text.replace(/\/\/[^/@\s]*@/g, '//');
}

async function lagOf(consumer: string, url: string): Promise<Lag[]> {
  const response = await fetch(`${url}/copies`, { signal: AbortSignal.timeout(TIMEOUT_MS) });
  // A service that consumes no events has no such page.
  if (response.status === 404) return [];
  if (!response.ok) throw new Error(`HTTP ${response.status}`);
  const copies = copiesSchema.safeParse(await response.json().catch(() => undefined));
  if (!copies.success) throw new Error('it is not a service of Tributary');
  return Object.entries(copies.data).map(([source, { position, head, lagSeconds, problem = null }]) => ({
    consumer,
    source,
    position,
    head,
    behind: Math.max(0, head - position),
    lagSeconds,
    problem,
  }));
}

function reasonOf(error: Error): string {
  const { cause } = error as { cause?: NodeJS.ErrnoException };
  return cause?.code ?? cause?.message ?? error.message;
}

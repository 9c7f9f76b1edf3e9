import { z } from 'zod';
import { type AggregateState, aggregateStateSchema, type RangeChecksum, rangeSchema } from './aggregates.js';
import { ledgerEventSchema } from './event.js';
import { LedgerGoneError, type LedgerPage } from './outbox.js';

const TIMEOUT_MS = 10_000;
const pageSchema = z.object({ head: z.number(), more: z.boolean(), events: z.array(ledgerEventSchema) });

/** Another service's ledger. */
export interface LedgerClient {
  /** @throws LedgerGoneError when retention has deleted what was asked for, or whatever `signal` says when it ends the request */
  read(after: number, limit: number, signal?: AbortSignal): Promise<LedgerPage>;
  /** Tells the owner how far a consumer is, so that it keeps what is not applied. */
  reportPosition(consumer: string, position: number): Promise<void>;
  /** Checksums of all that the owner has of a type, by range. */
  rangeChecksums(aggregateType: string): Promise<RangeChecksum[]>;
  /** What the owner has of a type in one range. */
  aggregates(aggregateType: string, range: number): Promise<AggregateState[]>;
}

/** Reads the ledger of the service at `url` over HTTP. */
export function ledgerClient(url: string, secret: string | undefined): LedgerClient {
  const call = async (path: string, { signal, ...init }: RequestInit = {}) => {
    const headers = { 'content-type': 'application/json', ...(secret && { authorization: `Bearer ${secret}` }) };
    const timeout = AbortSignal.timeout(TIMEOUT_MS);
    const response = await fetch(url + path, {
      ...init,
      headers,
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
    });
    if (response.status === 410) throw new LedgerGoneError(((await response.json()) as { message: string }).message);
    if (!response.ok) throw new Error(`${url}${path} answered ${response.status}.`);
    return response;
  };
  return {
    async read(after, limit, signal) {
      const response = await call(`/ledger?after=${after}&limit=${limit}`, signal ? { signal } : {});
      return pageSchema.parse(await response.json());
    },
    async reportPosition(consumer, position) {
      await call(`/ledger/consumers/${encodeURIComponent(consumer)}`, {
        method: 'PUT',
        body: JSON.stringify({ position }),
      });
    },
    async rangeChecksums(aggregateType) {
      return z.array(rangeSchema).parse(await (await call(`/aggregates/${aggregateType}`)).json());
    },
    async aggregates(aggregateType, range) {
      const rows = await (await call(`/aggregates/${aggregateType}?range=${range}`)).json();
      return z.array(aggregateStateSchema).parse(rows);
    },
  };
}

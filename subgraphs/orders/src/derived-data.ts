import type { DeriveData } from '@tributary/subgraph';
import { sql } from 'kysely';
import { projectAll } from './projections/order-projection.js';
import { recordExistingOrders } from './publication.js';
import type { OrdersTables } from './storage/tables.js';

/**
 * Derives from the events of orders what a database lacks that was written before orders could be placed: the read models, which its
 * migrations create empty, and the first event of each order for other services.
 */
export const deriveMissingData: DeriveData<OrdersTables> = async (transaction) => {
  // Retention deletes events of the outbox, but their positions stay assigned: orders whose events were deleted lack nothing.
  const { rows } = await sql<{ read_models: boolean; events: boolean }>`
    select
      not exists (select from orders_read) as read_models,
      not exists (select from outbox) and not exists (select from ledger where head > 0) as events
    where exists (select from order_events)
  `.execute(transaction);
  const [missing] = rows;
  if (missing?.read_models) await projectAll(transaction);
  if (missing?.events) await recordExistingOrders(transaction);
};

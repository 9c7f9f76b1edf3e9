import { setTimeout as sleep } from 'node:timers/promises';
import {
  type AggregateState,
  type AuditCheck,
  BETWEEN_LOOKS_MS,
  type Comparison,
  compareOnce,
  deadLetterCheck,
  type Finding,
  IncompleteAuditError,
  inOneLine,
  LOOKS,
  MAX_FINDINGS,
  MAX_IDS,
  runChecks,
} from '@tributary/events';
import { type Kysely, type RawBuilder, sql } from 'kysely';
import { z } from 'zod';
import type { Copy } from './copies/copies.js';
import type { OrderStatusName } from './order/order.js';
import type { SagaStep } from './placement/saga.js';
import type { OrdersTables } from './storage/tables.js';

/** Something that does not add up, and the service in whose data it was seen. */
export interface AuditFinding extends Finding {
  readonly service: string;
}

/** What holds in the orders database at every moment. */
const CHECKS: readonly AuditCheck[] = [
  {
    name: 'sagas',
    query: sql`
      select order_id as id, format('the saga failed and waits for an operator: %s', coalesce(failure, 'it was cancelled'))
        as problem
      from placement_sagas where status = 'FAILED'
      union all
      select order_id as id, format('the saga is %s, and the order is %s', sagas.status, coalesce(orders.status, 'missing'))
        as problem
      from placement_sagas as sagas left join orders_read as orders on orders.id = order_id
      where orders.status is null
        or (sagas.status = 'COMPLETED' and orders.status <> 'CONFIRMED')
        or (sagas.status = 'COMPENSATED' and orders.status not in ('REJECTED', 'CANCELLED'))
    `,
  },
  deadLetterCheck(['Reservation', 'Payment']),
];

/** An order, as far as its owner's data must agree with it. */
interface AuditedOrder {
  readonly id: string;
  readonly status: OrderStatusName;
  readonly customerId: string;
  readonly total: string;
  /** Units by product. */
  readonly quantities: Readonly<Record<string, number>>;
  /** Null for an imported order: nothing of it was ever reserved or charged. */
  readonly saga: { readonly finished: boolean; readonly steps: readonly SagaStep[] } | null;
}

/** A comparison of the orders that a saga placed with what another service has of each. */
interface CrossCheck extends Comparison {
  readonly name: string;
  readonly service: string;
  /** The step that undoes it: when an operator resolved that, the operator answers for it. */
  readonly undo: SagaStep['name'];
  /** In words, what the owner has. */
  readonly found: (state: AggregateState) => string;
  /** In words, what it should have; null: nothing. */
  readonly expected: (order: AuditedOrder) => string | null;
}

const paidSchema = z.object({ userId: z.string(), amount: z.string() });
const stockSchema = z.object({ status: z.string(), quantities: z.record(z.string(), z.number()) });

/** What the users service must have charged, made into checksums as it makes its own. */
const EXPECTED_PAYMENTS: RawBuilder<unknown> = sql`
  select id, 0 as version, md5(jsonb_build_array(id, orders.customer_id, total::numeric(20, 2)::text)::text) as checksum
  from orders_read as orders join placement_sagas on order_id = id
  where orders.status = 'CONFIRMED' and total <> 0
`;

/** What the products service must have sold, made into checksums as it makes its own. */
const EXPECTED_STOCK: RawBuilder<unknown> = sql`
  select id, 0 as version, md5(jsonb_build_array(id, 'COMMITTED', jsonb_object_agg(product_id, quantity))::text) as checksum
  from (
    select orders.id, product_id, sum(quantity) as quantity
    from orders_read as orders join placement_sagas on placement_sagas.order_id = orders.id
    join order_items_read as items on items.order_id = orders.id
    where orders.status = 'CONFIRMED' group by orders.id, product_id
  ) as lines group by id
`;

/**
 * Checks money and stock: within each service, and between orders and what users charged and products sold for them. Work in
 * progress is no finding: an order counts when its saga is over, and a difference between two services when it persists.
 *
 * @param copies lead to the other services
 * @throws IncompleteAuditError when a part of it fails, for instance because a service does not answer; the others are done
 *   all the same, unless the signal is aborted
 */
export async function audit(
  db: Kysely<OrdersTables>,
  copies: readonly Copy[],
  signal?: AbortSignal,
): Promise<AuditFinding[]> {
  const parts: [name: string, run: () => Promise<AuditFinding[]>][] = [
    ...copies.map(({ source, eventLog }): (typeof parts)[number] => [
      `the checks of ${source}`,
      async () => foundIn(source, await eventLog.audit(signal)),
    ]),
    ['the checks of orders', async () => foundIn('orders', await runChecks(db, CHECKS))],
    ...crossChecks(copies).map((check): (typeof parts)[number] => [check.name, () => crossCheck(db, check, signal)]),
  ];
  const findings: AuditFinding[] = [];
  const failures: string[] = [];
  for (const [name, run] of parts) {
    try {
      findings.push(...(await run()));
    } catch (error) {
      signal?.throwIfAborted();
      failures.push(`${name}: ${inOneLine(error)}`);
    }
  }
  if (failures.length > 0) throw new IncompleteAuditError(findings, failures);
  return findings;
}

const foundIn = (service: string, findings: readonly Finding[]): AuditFinding[] =>
  findings.map((finding) => ({ service, ...finding }));

function crossChecks(copies: readonly Copy[]): CrossCheck[] {
  return copies.map(({ source, eventLog }) =>
    source === 'users'
      ? {
          name: 'payments against orders',
          service: source,
          eventLog,
          aggregateType: 'OrderPayment',
          checksumView: EXPECTED_PAYMENTS,
          undo: 'refund-account',
          found: ({ data }) => payment(paidSchema.parse(data)),
          expected: ({ status, customerId: userId, total: amount }) =>
            status === 'CONFIRMED' && Number(amount) !== 0 ? payment({ userId, amount }) : null,
        }
      : {
          name: 'reservations against orders',
          service: source,
          eventLog,
          aggregateType: 'OrderStock',
          checksumView: EXPECTED_STOCK,
          undo: 'release-stock',
          found: ({ data }) => stock(stockSchema.parse(data)),
          expected: ({ status, quantities }) =>
            status === 'CONFIRMED' ? stock({ status: 'COMMITTED', quantities }) : null,
        },
  );
}

const payment = ({ userId, amount }: z.infer<typeof paidSchema>) => `${amount} charged to user ${userId}`;

const stock = ({ status, quantities }: z.infer<typeof stockSchema>) => {
  const lines = Object.entries(quantities).sort(([a], [b]) => (a < b ? -1 : 1));
  return `${lines.map(([id, quantity]) => `${quantity} of ${id}`).join(', ')} ${status.toLowerCase()}`;
};

/** Compares several times: only a finding that is the same each time does not come from events in flight. */
async function crossCheck(
  db: Kysely<OrdersTables>,
  check: CrossCheck,
  signal: AbortSignal | undefined,
): Promise<AuditFinding[]> {
  let findings: AuditFinding[] = [];
  for (let look = 1; look <= LOOKS; look++) {
    if (look > 1) await sleep(BETWEEN_LOOKS_MS, undefined, signal && { signal });
    const differing = new Set((await compareOnce(db, check, signal)).map(({ id }) => id));
    if (look === 1) {
      findings = await explain(db, check, [...differing].sort(), signal);
    } else {
      const before = new Set(findings.map(({ id, problem }) => JSON.stringify([id, problem])));
      const ids = findings.map(({ id }) => id).filter((id) => differing.has(id));
      const found = await explain(db, check, ids, signal);
      findings = found.filter(({ id, problem }) => before.has(JSON.stringify([id, problem])));
    }
    if (findings.length === 0) return [];
  }
  return findings;
}

/** Finds what is wrong with orders whose checksums differ, at most 1,000 of them; leaves out orders in progress first. */
async function explain(
  db: Kysely<OrdersTables>,
  check: CrossCheck,
  ids: readonly string[],
  signal: AbortSignal | undefined,
): Promise<AuditFinding[]> {
  const { name, service, eventLog, aggregateType } = check;
  const findings: AuditFinding[] = [];
  for (let start = 0; start < ids.length && findings.length < MAX_FINDINGS; start += MAX_IDS) {
    signal?.throwIfAborted();
    const some = ids.slice(start, start + MAX_IDS);
    const before = await readOrders(db, some);
    const over = some.filter((id) => !isExempt(before.get(id), check));
    if (over.length === 0) continue;
    const states = new Map<string, string[]>();
    for (const state of await eventLog.aggregatesById(aggregateType, over, undefined, signal)) {
      states.set(state.id, [...(states.get(state.id) ?? []), check.found(state)]);
    }
    // Read again: an order may have been cancelled meanwhile.
    const orders = await readOrders(db, over);
    for (const id of over) {
      const order = orders.get(id);
      if (isExempt(order, check)) continue;
      const has = states.get(id)?.join(' and ') ?? null;
      const expected = order?.saga ? check.expected(order) : null;
      if (has === expected) continue;
      const what = !order ? 'there is no such order' : order.saga ? `the order is ${order.status}` : 'it was imported';
      const problem = `${what}, so ${service} should have ${expected ?? 'nothing'} for it; it has ${has ?? 'nothing'}`;
      findings.push({ service, check: name, id, problem });
    }
  }
  return findings.slice(0, MAX_FINDINGS);
}

/** Whether the other service need not agree with an order: its saga is not over, or an operator answers for what it undid. */
function isExempt(order: AuditedOrder | undefined, { undo }: CrossCheck): boolean {
  const saga = order?.saga;
  if (!saga) return false;
  return !saga.finished || saga.steps.some((step) => step.name === undo && step.outcome === 'RESOLVED');
}

async function readOrders(db: Kysely<OrdersTables>, ids: readonly string[]): Promise<Map<string, AuditedOrder>> {
  const { rows } = await sql<AuditedOrder>`
    select orders.id, orders.status, orders.customer_id as "customerId", total, (
      select jsonb_object_agg(product_id, quantity) from (
        select product_id, sum(quantity) as quantity from order_items_read where order_id = orders.id group by product_id
      ) as lines
    ) as quantities,
    case when sagas.order_id is not null
      then jsonb_build_object('finished', sagas.finished_at is not null, 'steps', steps) end as saga
    from orders_read as orders left join placement_sagas as sagas on sagas.order_id = orders.id
    where orders.id = any(${ids})
  `.execute(db);
  return new Map(rows.map((row) => [row.id, row]));
}

import { type AuditCheck, deadLetterCheck } from '@tributary/events';
import { sql } from 'kysely';

/**
 * What each order has of the stock: held or sold units by product. The orders service makes the same checksums of the
 * orders that it confirmed.
 */
export const STOCK_BY_ORDER = sql`
  select order_id as id, version, status as type, jsonb_build_object('status', status, 'quantities', quantities) as data,
    md5(jsonb_build_array(order_id, status, quantities)::text) as checksum
  from (
    select order_id, version, status, (
      select jsonb_object_agg("productId", quantity)
      from jsonb_to_recordset(lines) as line ("productId" text, quantity bigint)
    ) as quantities
    from reservations where status in ('HELD', 'COMMITTED')
  ) as orders
`;

/** What holds in the products database at every moment. */
export const CHECKS: readonly AuditCheck[] = [
  {
    name: 'stock against reservations',
    query: sql`
      select product_id as id,
        format('%s are reserved and %s sold, and the reservations hold %s and sold %s',
          coalesce(reserved, 0), coalesce(sold, 0), coalesce(held_lines, 0), coalesce(sold_lines, 0)) as problem
      from stock full join (
        select "productId" as product_id, sum(quantity) filter (where status = 'HELD') as held_lines,
          sum(quantity) filter (where status = 'COMMITTED') as sold_lines
        from reservations, jsonb_to_recordset(lines) as line ("productId" text, quantity bigint)
        where status in ('HELD', 'COMMITTED') group by 1
      ) as lines using (product_id)
      where coalesce(reserved, 0) <> coalesce(held_lines, 0) or coalesce(sold, 0) <> coalesce(sold_lines, 0)
    `,
  },
  {
    name: 'stock against receipts',
    query: sql`
      select product_id as id,
        format('%s are on hand and %s sold, and %s were received', on_hand, sold, coalesce(received, 0)) as problem
      from stock left join (
        select product_id, sum(quantity) as received from stock_receipts group by product_id
      ) as receipts using (product_id)
      where on_hand::bigint + sold <> coalesce(received, 0)
    `,
  },
  deadLetterCheck(),
];

import { type AuditCheck, deadLetterCheck } from '@tributary/events';
import { sql } from 'kysely';

/**
 * What each order has cost its customer by the account entries: charges less refunds, where that is not 0. The orders
 * service makes the same checksums of the orders that it confirmed.
 */
export const PAID_BY_ORDER = sql`
  select order_id as id, 0 as version, 'Paid' as type,
    jsonb_build_object('userId', user_id, 'amount', paid) as data,
    md5(jsonb_build_array(order_id, user_id, paid)::text) as checksum
  from (
    select order_id, user_id, (-sum(amount))::numeric(20, 2)::text as paid
    from account_entries where order_id is not null group by order_id, user_id having sum(amount) <> 0
  ) as orders
`;

/** What holds in the users database at every moment. */
export const CHECKS: readonly AuditCheck[] = [
  {
    name: 'accounts against entries',
    query: sql`
      select accounts.user_id as id,
        format('the balance is %s, and the entries add up to %s', balance, coalesce(entries, 0.00)) as problem
      from accounts
      left join (select user_id, sum(amount) as entries from account_entries group by user_id) as sums using (user_id)
      where balance <> coalesce(entries, 0)
    `,
  },
  {
    name: 'payments against entries',
    query: sql`
      select order_id as id,
        format('the payment is %s (%s of user %s), and the entries are: %s charged in %s, %s refunded in %s, of user %s',
          coalesce(status, 'missing'), coalesce(payments.amount, 0.00), coalesce(payments.user_id, '-'),
          coalesce(charged, 0.00), coalesce(charges, 0), coalesce(refunded, 0.00), coalesce(refunds, 0),
          coalesce(first_user, '-')) as problem
      from payments full join (
        select order_id, min(user_id) as first_user, max(user_id) as last_user,
          -sum(amount) filter (where reason = 'charge') as charged, count(*) filter (where reason = 'charge') as charges,
          sum(amount) filter (where reason = 'refund') as refunded, count(*) filter (where reason = 'refund') as refunds
        from account_entries where order_id is not null group by order_id
      ) as entries using (order_id)
      where not coalesce(case status
        when 'CHARGED' then charges = 1 and refunds = 0 and charged = amount and first_user = user_id and last_user = user_id
        when 'REFUNDED' then coalesce(charged, 0) = coalesce(refunded, 0) and coalesce(charges, 0) <= 1
          and coalesce(refunds, 0) <= 1 and first_user is not distinct from last_user
        when 'REFUSED' then charges is null
      end, false)
    `,
  },
  deadLetterCheck(),
];

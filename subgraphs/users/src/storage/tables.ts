import type { ColumnType, Generated, Selectable } from 'kysely';

export type UserStatusName = 'ACTIVE' | 'SUSPENDED' | 'DELETED';

/** Set by the database when a row is made, given by the program when it changes. */
type Timestamp = ColumnType<Date, Date | undefined, Date>;

interface UserTable {
  id: string;
  name: string;
  email: string;
  status: Generated<UserStatusName>;
  segment: string | null;
  created_at: Timestamp;
  updated_at: Timestamp;
  version: Generated<number>;
}

interface AddressTable {
  user_id: string;
  position: number;
  line: string | null;
  city: string;
  state: string | null;
  postal_code: string | null;
  country: string;
  region: string | null;
}

interface AccountTable {
  user_id: string;
  balance: Generated<string>;
  /** Grows by one at every entry. */
  version: Generated<number>;
}

interface AccountEntryTable {
  id: Generated<number>;
  user_id: string;
  amount: string;
  reason: string;
  order_id: string | null;
  idempotency_key: string | null;
  at: Timestamp;
}

export type PaymentStatusName = 'CHARGED' | 'REFUSED' | 'REFUNDED';

/** What became of each order's payment. A row stays for ever: it is what makes a command take effect once. */
interface PaymentTable {
  order_id: string;
  /** Who pays; empty when the order was called off before a charge was requested. */
  user_id: string;
  amount: string;
  status: PaymentStatusName;
  /** Why it was refused. */
  refusal: ColumnType<{ readonly code: string; readonly reason: string } | null, string | null, string | null>;
  /** Grows by one at every answer. */
  version: number;
  created_at: Timestamp;
  updated_at: Timestamp;
}

/** Row counts maintained by triggers, so that a total costs one row. */
interface RowCountTable {
  name: 'users';
  count: number;
}

export interface UsersTables {
  users: UserTable;
  addresses: AddressTable;
  accounts: AccountTable;
  account_entries: AccountEntryTable;
  payments: PaymentTable;
  row_counts: RowCountTable;
}

export type UserRow = Selectable<UserTable>;
export type AddressRow = Selectable<AddressTable>;
export type AccountRow = Selectable<AccountTable>;
export type AccountEntryRow = Selectable<AccountEntryTable>;
export type PaymentRow = Selectable<PaymentTable>;

import { causedBy, type LoggedEvent } from '@tributary/bus';
import { type ApplyEvents, type Refusal, SagaSteps, type SagaStepTable } from '@tributary/events';
import { bulkInsert } from '@tributary/postgres';
import { MAX_COUNTER } from '@tributary/subgraph';
import Big from 'big.js';
import { type Kysely, sql } from 'kysely';
import { z } from 'zod';
import type { PaymentRow, UserStatusName, UsersTables } from './storage/tables.js';
import { accountCredited, accountDebited, paymentEvent } from './user-events.js';

/** The fields of the command that this service reads; others may be added or removed. */
const chargeSchema = z.object({ userId: z.string(), amount: z.string(), currency: z.literal('USD') });

type Payment = Omit<PaymentRow, 'created_at' | 'updated_at'>;

const PAYMENTS: SagaStepTable<Payment> = {
  name: 'payments',
  columns: {
    order_id: 'text',
    user_id: 'text',
    amount: 'numeric',
    status: 'text',
    refusal: 'jsonb',
    version: 'integer',
  },
  updated: ['amount', 'status', 'refusal', 'version'],
};

type ChargeRefusal = Refusal<'UNKNOWN_USER' | 'USER_NOT_ACTIVE' | 'INSUFFICIENT_FUNDS' | 'ACCOUNT_LIMIT' | 'REFUNDED'>;

const ALREADY_REFUNDED: ChargeRefusal = { code: 'REFUNDED', reason: 'The payment was taken back.' };

/**
 * Applies the commands and events of the orders service that charge and refund orders, and replies with events: PaymentCharged,
 * PaymentRefused, PaymentRefunded. Each takes effect once per order, however often it comes; the reply comes again. An
 * order that was refunded, charged before or not, can never be charged any more.
 */
export const applyPaymentCommands: ApplyEvents<UsersTables> = async (transaction, commands) => {
  const payments = await Payments.lock(transaction, commands);
  for (const command of commands) payments.handle(command);
  await payments.save(transaction);
};

/** Whether an event of orders is a command to this service. */
export const isPaymentCommand = ({ type }: LoggedEvent) => isCharge(type) || isRefund(type);

const isCharge = (type: string) => type === 'ChargeAccount';
const isRefund = (type: string) => type === 'RefundPayment' || type === 'OrderCancelled';

/** An account, with the movements so far. */
interface Account {
  readonly userId: string;
  readonly status: UserStatusName;
  balance: Big;
  version: number;
}

interface NewEntry {
  user_id: string;
  amount: string;
  reason: string;
  order_id: string;
}

/** The payments of a batch, with the accounts that they debit and credit. */
class Payments {
  readonly #steps: SagaSteps<Payment>;
  readonly #accounts: Map<string, Account>;
  readonly #entries: NewEntry[] = [];

  private constructor(steps: SagaSteps<Payment>, accounts: readonly Account[]) {
    this.#steps = steps;
    this.#accounts = new Map(accounts.map((account) => [account.userId, account]));
  }

  static async lock(transaction: Kysely<UsersTables>, commands: readonly LoggedEvent[]): Promise<Payments> {
    const orderIds = commands.map(({ aggregateId }) => aggregateId);
    const steps = await SagaSteps.lock(transaction, PAYMENTS, orderIds);
    const charged = commands.filter(({ type }) => isCharge(type)).map(({ data }) => chargeSchema.parse(data).userId);
    const userIds = [...new Set([...charged, ...steps.all.map((payment) => payment.user_id)])];
    const { rows: accounts } = await sql<{ id: string; status: UserStatusName; balance: string; version: number }>`
      select users.id, users.status, accounts.balance, accounts.version
      from accounts join users on users.id = accounts.user_id
      where users.id = any(${userIds}) order by users.id for no key update of accounts
    `.execute(transaction);
    return new Payments(
      steps,
      accounts.map(({ id, status, balance, version }) => ({ userId: id, status, balance: new Big(balance), version })),
    );
  }

  handle(command: LoggedEvent): void {
    if (isCharge(command.type)) this.#charge(command);
    else this.#refund(command);
  }

  async save(transaction: Kysely<UsersTables>): Promise<void> {
    const db = transaction as unknown as Kysely<never>;
    const movedIds = new Set(this.#entries.map((entry) => entry.user_id));
    const moved = [...this.#accounts.values()].filter(({ userId }) => movedIds.has(userId));
    const balances = moved.map(({ userId, balance, version }) => ({ userId, balance: balance.toFixed(2), version }));
    if (balances.length > 0) {
      // The table's own constraint has the last word: no balance below 0, whatever was calculated here.
      await sql`
        update accounts set balance = moved.balance, version = moved.version
        from jsonb_to_recordset(${JSON.stringify(balances)}::jsonb)
          as moved ("userId" text, balance numeric, version integer)
        where accounts.user_id = moved."userId"
      `.execute(transaction);
    }
    const entryColumns = {
      user_id: 'text',
      amount: 'numeric',
      reason: 'text',
      order_id: 'text',
    };
    await bulkInsert(db, 'account_entries', entryColumns, this.#entries);
    await this.#steps.save(transaction);
  }

  #charge(command: LoggedEvent): void {
    const { userId, amount } = chargeSchema.parse(command.data);
    const earlier = this.#steps.find(command.aggregateId);
    const payment = earlier ?? this.#add(command.aggregateId, userId, amount);
    if (!earlier) {
      const refusal = this.#refusal(payment);
      payment.status = refusal ? 'REFUSED' : 'CHARGED';
      payment.refusal = refusal;
      if (!refusal) this.#move(command, payment, `-${payment.amount}`, 'charge');
    }
    if (payment.status === 'CHARGED') this.#reply(command, payment, 'PaymentCharged', { amount: payment.amount });
    else this.#reply(command, payment, 'PaymentRefused', { ...(payment.refusal ?? ALREADY_REFUNDED) });
  }

  #refund(command: LoggedEvent): void {
    const payment = this.#steps.find(command.aggregateId) ?? this.#add(command.aggregateId, '', '0.00');
    if (payment.status === 'CHARGED') this.#move(command, payment, payment.amount, 'refund');
    else if (payment.status !== 'REFUNDED') payment.amount = '0.00';
    payment.status = 'REFUNDED';
    payment.refusal = null;
    this.#reply(command, payment, 'PaymentRefunded', { amount: payment.amount });
  }

  #refusal({ user_id: userId, amount }: Payment): ChargeRefusal | null {
    const account = this.#accounts.get(userId);
    if (!account) return { code: 'UNKNOWN_USER', reason: `There is no user with id "${userId}".` };
    if (account.status !== 'ACTIVE') {
      const state = account.status === 'DELETED' ? 'was deleted' : 'is suspended';
      return { code: 'USER_NOT_ACTIVE', reason: `The user "${userId}" ${state}.` };
    }
    if (account.version >= MAX_COUNTER) {
      return { code: 'ACCOUNT_LIMIT', reason: 'The account cannot take any more entries.' };
    }
    if (account.balance.gte(amount)) return null;
    const balance = account.balance.toFixed(2);
    return {
      code: 'INSUFFICIENT_FUNDS',
      reason: `The order costs ${amount} USD, and the account holds ${balance} USD.`,
    };
  }

  #add(orderId: string, userId: string, amount: string): Payment {
    return this.#steps.add({
      order_id: orderId,
      user_id: userId,
      amount,
      status: 'REFUSED',
      refusal: null,
      version: 0,
    });
  }

  /** Moves money, once per order and reason: the table's unique index makes sure of it. No key of a client can interfere. */
  #move(command: LoggedEvent, payment: Payment, amount: string, reason: 'charge' | 'refund'): void {
    const account = this.#accounts.get(payment.user_id);
    if (!account) throw new Error(`Payment ${payment.order_id} is of no account.`);
    account.balance = account.balance.plus(amount);
    account.version += 1;
    const { order_id: orderId, user_id: userId } = payment;
    this.#entries.push({
      user_id: userId,
      amount,
      reason,
      order_id: orderId,
    });
    const data = { amount: payment.amount, balance: account.balance.toFixed(2), reason, orderId };
    const event = reason === 'charge' ? accountDebited : accountCredited;
    this.#steps.record({ ...event(userId, account.version, data), origin: causedBy(command) });
  }

  #reply(command: LoggedEvent, payment: Payment, type: Parameters<typeof paymentEvent>[0], data: object): void {
    this.#steps.reply(payment, causedBy(command), (version) =>
      paymentEvent(type, payment.order_id, version, { userId: payment.user_id, ...data }),
    );
  }
}

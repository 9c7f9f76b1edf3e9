import { NO_ORIGIN, type Origin } from '@tributary/bus';
import { bulkInsert } from '@tributary/postgres';
import { type Kysely, sql } from 'kysely';
import { type NewEvent, recordEvents } from './outbox/outbox.js';

/** Why a step is refused; `reason` is for the customer. */
export interface Refusal<Code extends string = string> {
  readonly code: Code;
  readonly reason: string;
}

/** What a service did for an order in a saga: a reservation, a payment. */
export interface SagaStep {
  readonly order_id: string;
  /** Increases by one with each reply. */
  version: number;
}

/** A table of steps, with one row for each order and its key `order_id`. A row is never deleted: it makes a command idempotent. */
export interface SagaStepTable<Step extends SagaStep> {
  readonly name: string;
  /** Column name → PostgreSQL type. */
  readonly columns: Readonly<Record<keyof Step & string, string>>;
  /** The columns that a later command updates. */
  readonly updated: readonly (keyof Step & string)[];
}

/**
 * The steps of the orders that a batch of commands is about: locked, changed in memory, written at once with the replies.
 *
 * A command takes effect when the order has no step yet, or when its step is in a state that the command continues. In every other
 * case it only gets its reply again. A compensation that arrives before its step adds the step in its final state, so that a
 * command that arrives late is refused.
 */
export class SagaSteps<Step extends SagaStep> {
  readonly #table: SagaStepTable<Step>;
  readonly #steps: Map<string, Step>;
  readonly #changed = new Set<Step>();
  readonly #events: NewEvent[] = [];

  /** @param steps rows that the transaction has locked */
  constructor(table: SagaStepTable<Step>, steps: readonly Step[]) {
    this.#table = table;
    this.#steps = new Map(steps.map((step) => [step.order_id, step]));
  }

  /** Locks the steps of orders, in the order of their ids. Lock what the steps move (stock, accounts) after it, never before. */
  static async lock<Step extends SagaStep, Tables>(
    transaction: Kysely<Tables>,
    table: SagaStepTable<Step>,
    orderIds: readonly string[],
  ): Promise<SagaSteps<Step>> {
    const { rows } = await sql<Step>`
      select * from ${sql.table(table.name)} where order_id = any(${orderIds}) order by order_id for update
    `.execute(transaction);
    return new SagaSteps(table, rows);
  }

  get all(): readonly Step[] {
    return [...this.#steps.values()];
  }

  find(orderId: string): Step | undefined {
    return this.#steps.get(orderId);
  }

  /** Adds the step of an order that has none. Reply to its command, too: only then is it written. */
  add(step: Step): Step {
    this.#steps.set(step.order_id, step);
    return step;
  }

  /** Replies with an event of the step's next version, and has the step written. */
  reply(step: Step, origin: Origin, eventOf: (version: number) => NewEvent): void {
    step.version += 1;
    this.#changed.add(step);
    this.record({ ...eventOf(step.version), origin });
  }

  /** Records an event of something else, after the replies so far. */
  record(event: NewEvent & { readonly origin: Origin }): void {
    this.#events.push(event);
  }

  /** Writes the changed steps, then the events in the order of their recording. */
  async save<Tables>(transaction: Kysely<Tables>): Promise<void> {
    const { name, columns, updated } = this.#table;
    const assignments = updated.map((column) => sql`${sql.ref(column)} = ${sql.ref(`excluded.${column}`)}`);
    await bulkInsert(transaction as unknown as Kysely<never>, name, columns, [...this.#changed], {
      onConflict: sql`on conflict (order_id) do update set ${sql.join(assignments)}, updated_at = now()`,
    });
    await recordEvents(transaction, this.#events, NO_ORIGIN);
  }
}

export type SagaStatusName =
  | 'STARTED'
  | 'INVENTORY_RESERVED'
  | 'PAYMENT_CHARGED'
  | 'COMPLETED'
  | 'COMPENSATING'
  | 'COMPENSATED'
  | 'FAILED';

export type StepName = 'reserve-stock' | 'charge-account' | 'confirm-stock' | 'refund-account' | 'release-stock';

/** PENDING: the command is sent, no answer came yet. RESOLVED: an operator saw to it by hand. */
export type StepOutcome = 'PENDING' | 'SUCCEEDED' | 'REFUSED' | 'TIMED_OUT' | 'CANCELLED' | 'FAILED' | 'RESOLVED';

export interface SagaStep {
  readonly name: StepName;
  readonly outcome: StepOutcome;
  /** How often the command was sent. */
  readonly attempts: number;
  /** When the outcome became what it is; ISO 8601. */
  readonly at: string;
  readonly startedAt: string;
  readonly error: string | null;
}

/** The placement of an order across the services, as far as it is. */
export interface Saga {
  /** Also the order's id. */
  readonly id: string;
  readonly status: SagaStatusName;
  /** In the order in which they were begun; a step appears once. */
  readonly steps: readonly SagaStep[];
  /** Why it goes back, in words for a customer; null while it goes forward. */
  readonly failure: string | null;
  /** The order was cancelled: that is its outcome already, whatever is to be undone. */
  readonly cancelled: boolean;
  /** Commands sent so far, the sends again included. */
  readonly commands: number;
  readonly startedAt: Date;
  readonly finishedAt: Date | null;
}

/** A command that a saga sends to another service, one for each step. */
export type SagaCommand = 'ReserveStock' | 'ChargeAccount' | 'CommitStock' | 'RefundPayment' | 'ReleaseStock';

/** What may happen to a saga. */
export type SagaInput =
  | { readonly type: 'StockReserved' | 'StockCommitted' | 'StockReleased' }
  | { readonly type: 'PaymentCharged' | 'PaymentRefunded' }
  | { readonly type: 'StockRefused'; readonly command: 'ReserveStock' | 'CommitStock'; readonly reason: string }
  | { readonly type: 'PaymentRefused'; readonly reason: string }
  /** No answer came in time. */
  | { readonly type: 'Due' }
  /** The customer took the order back; products and users receive the event of that themselves. */
  | { readonly type: 'Cancelled' }
  /** An operator: send the awaited commands again, now. */
  | { readonly type: 'Retry' }
  /** An operator: what could not be undone has been resolved by hand. */
  | { readonly type: 'Resolve'; readonly note: string };

/** What becomes of a saga. */
export interface Advance {
  readonly saga: Saga;
  /** To be sent, in this order. */
  readonly send: readonly SagaCommand[];
  /** What is to become of the order now. */
  readonly order: 'reprice' | 'confirm' | 'reject' | null;
  /** Milliseconds until it is due if no answer comes; null: nothing is awaited. */
  readonly dueInMs: number | null;
}

export interface SagaPolicy {
  /** How long the first attempt of a step may take; it doubles with each attempt. */
  readonly stepTimeoutMs: number;
}

/** A step before the pivot is given up, and compensated, after this many attempts. */
export const FORWARD_ATTEMPTS = 4;
/** After this many attempts without an answer, a compensation is handed to an operator. */
export const COMPENSATION_ATTEMPTS = 8;
const LONGEST_WAIT_MS = 60_000;
/** Waits vary by up to this share, so that sagas that stopped together do not all go on together. */
const JITTER = 0.3;

const COMMANDS: Readonly<Record<StepName, SagaCommand>> = {
  'reserve-stock': 'ReserveStock',
  'charge-account': 'ChargeAccount',
  'confirm-stock': 'CommitStock',
  'refund-account': 'RefundPayment',
  'release-stock': 'ReleaseStock',
};

/** A saga that has just begun: its first command is to be sent. */
export function startSaga(id: string, now: Date, policy: SagaPolicy, jitter: number): Advance {
  const saga: Saga = {
    id,
    status: 'STARTED',
    steps: [],
    failure: null,
    cancelled: false,
    commands: 0,
    startedAt: now,
    finishedAt: null,
  };
  return new SagaTransition(saga, now, policy, jitter).begin('reserve-stock').result();
}

/**
 * What becomes of a saga by what happened. Pure.
 *
 * reserve-stock → charge-account → confirm-stock, and the order is confirmed. A refusal, or no answer for too long before the
 * account was charged, turns it back: refund-account, if a charge was requested, then release-stock, and the order is rejected.
 * Once the account is charged it only goes forward, unless the stock is gone or the customer cancels.
 *
 * An answer to a step that is not awaited any more changes nothing: what it says was done has been undone, or is about to be,
 * by a command that its service gets after it.
 *
 * @param jitter from 0 to below 1
 * @returns null when nothing changes
 */
export function advance(saga: Saga, input: SagaInput, now: Date, policy: SagaPolicy, jitter: number): Advance | null {
  const next = new SagaTransition(saga, now, policy, jitter);
  switch (input.type) {
    case 'StockReserved':
      if (saga.status !== 'STARTED') return null;
      return next
        .settle('reserve-stock')
        .enter('INVENTORY_RESERVED')
        .begin('charge-account')
        .changeOrder('reprice')
        .result();
    case 'PaymentCharged':
      if (saga.status !== 'INVENTORY_RESERVED') return null;
      return next.settle('charge-account').enter('PAYMENT_CHARGED').begin('confirm-stock').result();
    case 'StockCommitted':
      if (saga.status !== 'PAYMENT_CHARGED') return null;
      return next.settle('confirm-stock').finish('COMPLETED').changeOrder('confirm').result();
    case 'StockRefused': {
      const [status, step] =
        input.command === 'ReserveStock'
          ? (['STARTED', 'reserve-stock'] as const)
          : (['PAYMENT_CHARGED', 'confirm-stock'] as const);
      if (saga.status !== status) return null;
      return next.settle(step, 'REFUSED', input.reason).turnBack(input.reason).result();
    }
    case 'PaymentRefused':
      if (saga.status !== 'INVENTORY_RESERVED') return null;
      return next.settle('charge-account', 'REFUSED', input.reason).turnBack(input.reason).result();
    case 'PaymentRefunded':
      return compensated(saga, next, 'refund-account');
    case 'StockReleased':
      return compensated(saga, next, 'release-stock');
    case 'Due':
      return overdue(saga, next);
    case 'Cancelled':
      return saga.cancelled ? null : next.cancel().result();
    case 'Retry':
      if (isFinished(saga)) return null;
      return (saga.status === 'FAILED' ? next.enter('COMPENSATING') : next).sendAgain(true).result();
    case 'Resolve':
      return saga.status === 'FAILED' ? next.resolve(input.note).result() : null;
  }
}

/** Whether it has ended well, or everything is undone. */
export function isFinished({ status }: Pick<Saga, 'status'>): boolean {
  return status === 'COMPLETED' || status === 'COMPENSATED';
}

function compensated(saga: Saga, next: SagaTransition, step: StepName): Advance | null {
  const begun = saga.steps.find(({ name }) => name === step);
  const awaited = saga.status === 'COMPENSATING' || saga.status === 'FAILED';
  if (!awaited || !begun || begun.outcome === 'SUCCEEDED') return null;
  next.settle(step).enter('COMPENSATING');
  // Who answers at last may answer for what else was given up.
  const othersFailed = saga.steps.some(({ name, outcome }) => name !== step && outcome === 'FAILED');
  return (othersFailed ? next.sendAgain(true) : next.goBack()).result();
}

function overdue(saga: Saga, next: SagaTransition): Advance | null {
  const awaited = saga.steps.find(({ outcome }) => outcome === 'PENDING');
  if (!awaited || isFinished(saga) || saga.status === 'FAILED') return null;
  if (saga.status === 'COMPENSATING') {
    return awaited.attempts < COMPENSATION_ATTEMPTS ? next.sendAgain().result() : next.giveUp().result();
  }
  if (saga.status === 'PAYMENT_CHARGED' || awaited.attempts < FORWARD_ATTEMPTS) return next.sendAgain().result();
  const what = awaited.name === 'reserve-stock' ? 'The stock could not be reserved' : 'The payment could not be made';
  return next
    .settle(awaited.name, 'TIMED_OUT', 'no answer in time')
    .turnBack(`${what} in time. Please order again later.`)
    .result();
}

/** Builds the next state of a saga, change by change. */
class SagaTransition {
  #saga: Saga;
  readonly #now: Date;
  readonly #policy: SagaPolicy;
  readonly #jitter: number;
  readonly #send: SagaCommand[] = [];
  #order: Advance['order'] = null;

  constructor(saga: Saga, now: Date, policy: SagaPolicy, jitter: number) {
    this.#saga = saga;
    this.#now = now;
    this.#policy = policy;
    this.#jitter = jitter;
  }

  enter(status: SagaStatusName): this {
    this.#saga = { ...this.#saga, status };
    return this;
  }

  finish(status: 'COMPLETED' | 'COMPENSATED'): this {
    this.#saga = { ...this.#saga, status, finishedAt: this.#now };
    return this;
  }

  changeOrder(what: Exclude<Advance['order'], null>): this {
    this.#order = what;
    return this;
  }

  /** Adds a step and sends its command, unless its service receives another event for it. */
  begin(name: StepName, { sendCommand = true } = {}): this {
    const at = this.#now.toISOString();
    const step: SagaStep = { name, outcome: 'PENDING', attempts: sendCommand ? 1 : 0, at, startedAt: at, error: null };
    this.#saga = { ...this.#saga, steps: [...this.#saga.steps, step] };
    if (sendCommand) this.#sendFor(name);
    return this;
  }

  settle(name: StepName, outcome: StepOutcome = 'SUCCEEDED', error: string | null = null): this {
    return this.#change(name, { outcome, error, at: this.#now.toISOString() });
  }

  turnBack(failure: string): this {
    this.#saga = { ...this.#saga, status: 'COMPENSATING', failure };
    return this.goBack();
  }

  /** Begins the next compensation, the last step first; when everything is undone, it ends. */
  goBack(): this {
    if (this.#steps(['PENDING', 'FAILED']).length > 0) return this;
    const next = this.#undone()[0];
    if (next) return this.begin(next);
    if (!this.#saga.cancelled) this.changeOrder('reject');
    return this.finish('COMPENSATED');
  }

  /** The services receive the event of the cancelled order; the saga only waits until each has undone its part. */
  cancel(): this {
    for (const { name } of this.#steps(['PENDING'])) {
      if (!isCompensation(name)) this.settle(name, 'CANCELLED');
    }
    this.#saga = { ...this.#saga, status: 'COMPENSATING', cancelled: true, finishedAt: null };
    for (const { name } of this.#steps(['FAILED'])) this.#change(name, { outcome: 'PENDING', attempts: 0 });
    for (const step of this.#undone()) this.begin(step, { sendCommand: false });
    return this.goBack();
  }

  /** Sends the awaited commands once more; `resetAttempts` counts attempts from 1 again, and includes failed steps. */
  sendAgain(resetAttempts = false): this {
    for (const { name, attempts } of this.#steps(resetAttempts ? ['PENDING', 'FAILED'] : ['PENDING'])) {
      this.#change(name, { outcome: 'PENDING', attempts: resetAttempts ? 1 : attempts + 1, error: null });
      this.#sendFor(name);
    }
    return this;
  }

  giveUp(): this {
    for (const { name } of this.#steps(['PENDING'])) this.settle(name, 'FAILED', 'no answer in time');
    return this.enter('FAILED');
  }

  resolve(note: string): this {
    for (const { name } of this.#steps(['PENDING', 'FAILED'])) this.settle(name, 'RESOLVED', note);
    return this.enter('COMPENSATING').goBack();
  }

  result(): Advance {
    const awaited = this.#steps(['PENDING']);
    const attempts = Math.max(...awaited.map((step) => step.attempts), 1);
    const wait = Math.min(this.#policy.stepTimeoutMs * 2 ** (attempts - 1), LONGEST_WAIT_MS);
    return {
      saga: { ...this.#saga, commands: this.#saga.commands + this.#send.length },
      send: this.#send,
      order: this.#order,
      dueInMs: awaited.length === 0 ? null : Math.round(wait * (1 + JITTER * this.#jitter)),
    };
  }

  #sendFor(name: StepName): void {
    this.#send.push(COMMANDS[name]);
  }

  #steps(outcomes: readonly StepOutcome[]): readonly SagaStep[] {
    return this.#saga.steps.filter(({ outcome }) => outcomes.includes(outcome));
  }

  /** Compensations that are called for and not begun, in the order in which they are done. */
  #undone(): StepName[] {
    const begun = (name: StepName) => this.#saga.steps.find((step) => step.name === name);
    const needed: StepName[] = [];
    const charge = begun('charge-account');
    // A refusal is final; anything else may have been, or may yet become, a charge.
    if (charge && charge.outcome !== 'REFUSED') needed.push('refund-account');
    if (begun('reserve-stock')?.outcome !== 'REFUSED') needed.push('release-stock');
    return needed.filter((name) => !begun(name));
  }

  #change(name: StepName, change: Partial<SagaStep>): this {
    const steps = this.#saga.steps.map((step) => (step.name === name ? { ...step, ...change } : step));
    this.#saga = { ...this.#saga, steps };
    return this;
  }
}

function isCompensation(name: StepName): boolean {
  return name === 'refund-account' || name === 'release-stock';
}

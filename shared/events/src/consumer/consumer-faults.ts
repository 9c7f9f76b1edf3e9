import { Fault, type Time } from '@tributary/server';
import type { Logger } from 'pino';
import { inOneLine } from '../copies/audit.js';

/** A fault is reported when it lasts longer. */
const PATIENCE_MS = 2000;

/** The faults of one consumer: each is logged when it begins and when it ends. */
export class ConsumerFaults {
  /** The event log cannot be read. */
  readonly unread: Fault;
  /** The owner has deleted events that the copy needs. */
  readonly gone: Fault;
  /** Events cannot be applied. */
  readonly unapplied: Fault;
  /** The position cannot be reported to the owner. */
  readonly unreported: Fault;
  readonly #signal: AbortSignal;
  #commitFails = false;

  /** @param signal nothing is reported after it is aborted */
  constructor(source: string, logger: Logger, signal: AbortSignal, time: Time) {
    this.#signal = signal;
    const fault = (began: string, ended: string, level: 'warn' | 'error' = 'warn') =>
      new Fault({ logger, began, ended, level, details: { source }, patienceMs: PATIENCE_MS, time });
    this.unread = fault(
      'the event log cannot be read; what the event bus does not bring is missing in the copy',
      'the event log can be read again',
    );
    this.gone = fault(
      'the owner has deleted events that the copy has not applied; run "tributary verify --repair"',
      'the copy follows the event log again',
      'error',
    );
    this.unapplied = fault('events cannot be applied; the copy falls behind', 'events are applied again');
    this.unreported = fault(
      'the position cannot be reported to the owner, which keeps events until it is',
      'the position is reported again',
    );
  }

  /** Why the copy does not follow its owner; null while it does. */
  get cause(): string | null {
    return this.gone.cause ?? this.unapplied.cause ?? this.unread.cause;
  }

  note(fault: Fault, error: unknown): void {
    if (!this.#signal.aborted) fault.failed(inOneLine(error));
  }

  /** @param error why a batch could not be committed; null when it was */
  noteCommit(error: unknown): void {
    this.#commitFails = error !== null;
    if (error === null) this.unapplied.worked();
    else this.note(this.unapplied, error);
  }

  /** The database answered. That ends the fault, unless commits fail. */
  noteDatabaseRead(): void {
    if (!this.#commitFails) this.unapplied.worked();
  }

  stop(): void {
    for (const fault of [this.unread, this.gone, this.unapplied, this.unreported]) fault.stop();
  }
}

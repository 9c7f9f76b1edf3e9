import { type OperateOptions, withAdmins } from './operations.js';
import { print } from './output.js';
import { UserError } from './user-error.js';

const NONE = 'There are no dead letters.';

/** Prints the events that a service could not apply. */
export function listDeadLetters(options: OperateOptions): Promise<void> {
  return withAdmins(options, async (consumers) => {
    const found = (await Promise.all(consumers.map((each) => each.deadLetters()))).flat();
    const rows = found.map((letter) => ({
      consumer: letter.consumer,
      source: letter.source,
      position: letter.position,
      type: letter.event.type,
      aggregate: `${letter.aggregate_type} ${letter.aggregate_id}`,
      attempts: letter.attempts,
      error: letter.error,
    }));
    print(found, { ...options, rows, empty: NONE });
  });
}

/** Applies them again, each aggregate in order; exit status 1 when some fail again. */
export function retryDeadLetters(options: OperateOptions): Promise<void> {
  return withAdmins(options, async (consumers) => {
    const found = [];
    for (const each of consumers) {
      for (const result of await each.retryDeadLetters()) found.push({ consumer: each.consumer, ...result });
    }
    const rows = found.map(({ consumer, source, aggregateType, aggregateId, applied, error }) => ({
      consumer,
      source,
      aggregate: `${aggregateType} ${aggregateId}`,
      applied,
      'still failing': error,
    }));
    print(found, { ...options, rows, empty: NONE });
    if (found.some(({ error }) => error !== null)) process.exitCode = 1;
  });
}

/** @param position of the event in its source's event log */
export function discardDeadLetter(
  consumer: string,
  source: string,
  position: number,
  options: OperateOptions,
): Promise<void> {
  return withAdmins(options, async (consumers) => {
    const owner = consumers.find((each) => each.consumer === consumer);
    if (!(await owner?.discardDeadLetter(source, position))) {
      throw new UserError(`${consumer} has no dead letter of ${source} at position ${position}.`);
    }
    const empty = `Discarded ${source} ${position} of ${consumer}.`;
    print({ discarded: { consumer, source, position } }, { ...options, rows: [], empty });
  });
}

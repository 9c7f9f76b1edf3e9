import type { Fault } from './fault-injector.ts';

export interface FaultRun {
  readonly seed: number;
  readonly orders: number;
  readonly clients: number;
  readonly faults: readonly Fault[];
  /** Answers that were errors, by code; their clients asked again. */
  readonly errors: ReadonlyMap<string, number>;
  readonly outcomes: readonly { readonly status: string; readonly count: number }[];
  readonly placingMs: number;
  /** From the moment when everything was back until every order was final and every event applied. */
  readonly settlingMs: number;
}

/** What a run came to, in Markdown. */
export function describeRun(run: FaultRun): string {
  const { seed, orders, clients, faults, errors, outcomes, placingMs, settlingMs } = run;
  const parts = [...new Set(faults.map(({ part }) => part))].sort();
  const count = (part: string, kind: Fault['kind']) =>
    faults.filter((fault) => fault.part === part && fault.kind === kind).length;
  const rows = parts.map((part) => `| ${part} | ${count(part, 'kill')} | ${count(part, 'pause')} |`);
  const answers = [...errors].sort().map(([code, times]) => `${code} ${times} times`);
  return `# Orders under fire: a run and what it found

\`npm run soak -- faults --seed ${seed}\`: ${orders} orders by ${clients} concurrent clients, with ${faults.length} kills (-9) and pauses (SIGSTOP)
spread over every process and server, up to two at once.

| | |
| --- | --- |
| Placing all of them took | ${(placingMs / 1000).toFixed(0)} s |
| After everything was back, the last order was settled within | ${(settlingMs / 1000).toFixed(1)} s |
${outcomes.map(({ status, count }) => `| ${status} | ${count} |`).join('\n')}
| Answers that were errors (the clients asked again) | ${answers.join(', ') || 'none'} |

| part | killed | paused |
| --- | --- | --- |
${rows.join('\n')}

Then all of this was checked, and held: every key stands for one order; every final status that a client was shown is the
order's status now (or it was cancelled at the client's wish); every account's balance is the sum of its entries and not below 0;
every confirmed order was charged exactly once, to the cent, and every other order was refunded what it was charged; every
product's stock is what was received less what was sold, nothing is reserved, and what was sold is what confirmed orders say; every
ledger is without a gap; no event is parked; every copy equals its owner; and the read models that are made anew from the
events equal those that were kept.
`;
}

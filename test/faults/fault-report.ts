import { HEALTHY_WITHIN_MS, type Round } from './fault-injector.ts';

export interface FaultRun {
  readonly seed: number;
  readonly orders: number;
  readonly clients: number;
  readonly rounds: readonly Round[];
  /** Answers that were errors, by code; their clients asked again. */
  readonly errors: ReadonlyMap<string, number>;
  readonly outcomes: readonly { readonly status: string; readonly count: number }[];
  readonly placingMs: number;
  /** From the moment when everything was well until every order was final and every event applied. */
  readonly settlingMs: number;
}

const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`;

/** One line about a round, for the terminal. */
export function describeRound({ faults, healthyAfterMs, failures, load }: Round): string {
  const what = faults.map(({ kind, target, lastsMs }) => `${kind} (${target}, ${seconds(lastsMs)})`).join(' with ');
  const outcome = healthyAfterMs === null ? 'never healthy, restarted' : `healthy after ${seconds(healthyAfterMs)}`;
  return [`${what}: ${outcome} (load ${load})`, ...failures.map((failure) => `  FAILED ${failure}`)].join('\n');
}

/** What a run came to, in Markdown. */
export function describeRun(run: FaultRun): string {
  const { seed, orders, clients, rounds, errors, outcomes, placingMs, settlingMs } = run;
  const faults = rounds.flatMap(({ faults, healthyAfterMs }) => faults.map((fault) => ({ ...fault, healthyAfterMs })));
  const kinds = [...new Set(faults.map(({ kind }) => kind))].sort();
  const rows = kinds.map((kind) => {
    const ofKind = faults.filter((fault) => fault.kind === kind);
    const healthy = ofKind.map(({ healthyAfterMs }) => healthyAfterMs ?? Number.POSITIVE_INFINITY);
    const slowest = Math.max(...healthy);
    return `| ${kind} | ${ofKind.length} | ${seconds(Math.max(...ofKind.map(({ lastsMs }) => lastsMs)))} | ${
      Number.isFinite(slowest) ? seconds(slowest) : 'never'
    } |`;
  });
  const answers = [...errors].sort().map(([code, times]) => `${code} ${times} times`);
  const failures = rounds.filter((round) => round.failures.length > 0);
  return `# Orders under fire: a run and what it found

\`npm run soak -- faults --size ${faults.length} --seed ${seed}\`: ${clients} concurrent clients placed ${orders} orders, while ${faults.length} faults of ${kinds.length} kinds
were made, up to two at once. After each, every process had to be healthy within ${HEALTHY_WITHIN_MS / 1000} s without a command ([testing.md](testing.md)).

| | |
| --- | --- |
| Orders were placed for | ${(placingMs / 1000).toFixed(0)} s |
| After everything was healthy, the last order was settled within | ${seconds(settlingMs)} |
${outcomes.map(({ status, count }) => `| ${status} | ${count} |`).join('\n')}
| Answers that were errors (the clients asked again) | ${answers.join(', ') || 'none'} |

| fault | times | longest | healthy after, at most |
| --- | --- | --- | --- |
${rows.join('\n')}

${failures.length > 0 ? `Not as it should be:\n\n\`\`\`\n${failures.map(describeRound).join('\n')}\n\`\`\`\n\n` : ''}Then all of this was checked, and held: every key stands for one order; every final status that a client was shown is the
order's status now (or it was cancelled at the client's wish); every account's balance is the sum of its entries and not below 0;
every confirmed order was charged exactly once, to the cent, and every other order was refunded what it was charged; every
product's stock is what was received less what was sold, nothing is reserved, and what was sold is what confirmed orders say; every
event log is without a gap; there is no dead letter; every copy equals its owner; the read models that are rebuilt from the
events equal the maintained ones; and \`tributary verify\` finds nothing.
`;
}

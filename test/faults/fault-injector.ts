import { loadavg } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Program } from '../harness/fault-stack.ts';
import type { Random } from '../harness/random.ts';
import { until } from '../harness/until.ts';
import { Deck } from './deck.ts';
import { type FaultKind, type FaultWorld, isSettled, POLL_MS } from './fault-kinds.ts';
import { problemsOf } from './stack-health.ts';

/** From the end of a fault until everything is well, without a command. */
export const HEALTHY_WITHIN_MS = 10_000;
/** How long it is watched beyond that, to say when it was well after all. Then everything is restarted, as an operator would. */
const GIVE_UP_MS = 45_000;
const CALM_MS = 120_000;
/** The share of rounds in which two faults overlap. */
const TOGETHER = 0.4;
/** What a program may log of one round of faults, at `warn` and above, in lines, besides what it logs of single requests. */
const MAX_LOG_LINES = 100;

interface Fault {
  readonly kind: string;
  readonly target: string;
  readonly lastsMs: number;
}

/** One or two faults at the same time, and how the stack came out of them. */
export interface Round {
  readonly faults: readonly Fault[];
  /** From the end of the faults until everything was well; null: it never was, and was restarted. */
  readonly healthyAfterMs: number | null;
  /** What should have been otherwise. */
  readonly failures: readonly string[];
  /** The machine's load average over a minute: on a machine that is busy otherwise, everything takes longer. */
  readonly load: number;
}

/** Makes faults of every kind, round by round, and waits after each until the stack is well. */
export class FaultInjector {
  readonly rounds: Round[] = [];
  readonly #world: FaultWorld;
  readonly #random: Random;
  readonly #deck: Deck<FaultKind>;

  constructor(kinds: readonly FaultKind[], world: FaultWorld) {
    this.#world = world;
    this.#random = world.random;
    this.#deck = new Deck(kinds, world.random);
  }

  get faults(): number {
    return this.rounds.reduce((sum, { faults }) => sum + faults.length, 0);
  }

  /** @throws when the stack is not well before anything is hurt: on a machine that is too busy, faults would not show */
  async expectHealthy(): Promise<void> {
    await until(
      () => this.#problems(),
      (problems) => problems.length === 0,
      CALM_MS,
      POLL_MS,
    ).catch((error: Error) => {
      throw new Error(`Without a fault it is not healthy (load ${currentLoad()}). ${error.message}`);
    });
  }

  /** Restarts every program, as an operator would when a round left one that is not well. */
  async restartAll(): Promise<void> {
    const programs = Object.values(this.#world.stack.programs);
    await Promise.all(programs.map((program) => program.kill()));
    await Promise.all(programs.map((program) => program.start()));
    await this.expectHealthy();
  }

  async round(): Promise<Round> {
    const kinds = this.#drawKinds();
    const logged = this.#loggedLines();
    const failures: string[] = [];
    const running = [];
    for (const kind of kinds) running.push({ kind: kind.name, ...(await kind.begin()) });
    await Promise.all(
      running.map(async ({ kind, lastsMs, during, end }) => {
        const checked = during?.().catch((error: Error) => failures.push(`${kind}: ${error.message}`));
        await Promise.all([sleep(lastsMs), checked]);
        await end();
      }),
    );
    const { healthyAfterMs, problems } = await this.#waitUntilHealthy();
    if (healthyAfterMs === null || healthyAfterMs > HEALTHY_WITHIN_MS) failures.push(...problems);
    for (const [program, lines] of this.#loggedLines()) {
      const more = lines - (logged.get(program) ?? 0);
      if (more > MAX_LOG_LINES) failures.push(`${program.name} logged ${more} lines`);
    }
    const faults = running.map(({ kind, target, lastsMs }) => ({ kind, target, lastsMs }));
    const round = { faults, healthyAfterMs, failures, load: currentLoad() };
    this.rounds.push(round);
    return round;
  }

  #drawKinds(): FaultKind[] {
    const first = this.#deck.draw();
    if (first.area === null || this.#random.next() >= TOGETHER) return [first];
    const second = this.#deck.drawWhere(({ area }) => area !== null && area !== first.area);
    return second ? [first, second] : [first];
  }

  /** @returns `problems`: what was wrong when it should have been well */
  async #waitUntilHealthy(): Promise<{ healthyAfterMs: number | null; problems: string[] }> {
    const endedAt = performance.now();
    let problems: string[] = [];
    for (;;) {
      const found = await this.#problems();
      const passedMs = performance.now() - endedAt;
      if (found.length === 0) return { healthyAfterMs: passedMs, problems };
      if (passedMs < HEALTHY_WITHIN_MS || problems.length === 0) problems = found;
      if (passedMs > GIVE_UP_MS) return { healthyAfterMs: null, problems };
      await sleep(POLL_MS);
    }
  }

  /** What operators see, and, when they see nothing, whether clients can place orders. */
  async #problems(): Promise<string[]> {
    const { stack, clients } = this.#world;
    const problems = await problemsOf(stack);
    if (problems.length > 0) return problems;
    const statuses = await Promise.all(stack.gateways.map((gateway) => clients.place(gateway, 3000)));
    return statuses.flatMap((status, i) =>
      isSettled(status) ? [] : [`an order through ${['gatewayA', 'gatewayB'][i]} is answered with ${status}`],
    );
  }

  #loggedLines(): Map<Program, number> {
    const programs = Object.values(this.#world.stack.programs);
    const lines = (output: string) => output.split('\n').filter((line) => !line.includes('"reqId":')).length;
    return new Map(programs.map((program) => [program, lines(program.output())]));
  }
}

const currentLoad = () => Math.round(loadavg()[0] ?? 0);

/** Something that a process depends on, as `/health/ready` shows it. */
export interface HealthCheck {
  /** What is checked, as operators know it: `event bus`, `copy of users`. */
  readonly name: string;
  /** `required`: without it the process is not ready, and a load balancer sends it nothing. Otherwise it is degraded, and serves. */
  readonly required: boolean;
  /** Why it is not well, in one sentence; null when it is. It answers from what is known: it waits for nothing. */
  readonly check: () => string | null;
}

/** What is not well, by the name of its check. */
export type HealthReasons = Readonly<Record<string, string>>;

/** The checks of a process; each part adds its own. */
export class Health {
  readonly #checks: HealthCheck[] = [];

  add(check: HealthCheck): void {
    this.#checks.push(check);
  }

  /** What keeps the process from being ready, and what it does without. */
  read(): { readonly notReady: HealthReasons; readonly degraded: HealthReasons } {
    const notReady: Record<string, string> = {};
    const degraded: Record<string, string> = {};
    for (const { name, required, check } of this.#checks) {
      const reason = check();
      if (reason !== null) (required ? notReady : degraded)[name] = reason;
    }
    return { notReady, degraded };
  }
}

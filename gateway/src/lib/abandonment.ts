/** Becomes true when nobody waits for something any more; those who work on it are told. */
export class Abandonment {
  readonly #listeners = new Set<() => void>();
  #happened = false;

  get happened(): boolean {
    return this.#happened;
  }

  /** Calls back when it happens, at once when it has. @returns how to stop listening */
  listen(callback: () => void): () => void {
    if (this.#happened) callback();
    else this.#listeners.add(callback);
    return () => this.#listeners.delete(callback);
  }

  happen(): void {
    if (this.#happened) return;
    this.#happened = true;
    for (const callback of this.#listeners) callback();
    this.#listeners.clear();
  }
}

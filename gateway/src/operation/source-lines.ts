import type { SourceLocation } from 'graphql';

/** The lines of a text: converts offsets to locations and back, without reading the text again. */
export class SourceLines {
  /** The offset at which each line starts. */
  readonly #starts: readonly number[];

  constructor(text: string) {
    const ends = text.matchAll(/\r\n|[\n\r]/g);
    this.#starts = [0, ...Array.from(ends, ({ index, 0: end }) => index + end.length)];
  }

  /** Finds the line and column of an offset. */
  locationOf(offset: number): SourceLocation {
    let line = 0;
    for (let end = this.#starts.length; line + 1 < end; ) {
      const middle = (line + end) >> 1;
      if ((this.#starts[middle] as number) <= offset) line = middle;
      else end = middle;
    }
    return { line: line + 1, column: offset - (this.#starts[line] as number) + 1 };
  }

  /** Finds the offset of a location; -1 when the text has no such line. */
  offsetOf({ line, column }: SourceLocation): number {
    const start = this.#starts[line - 1];
    return start === undefined ? -1 : start + column - 1;
  }
}

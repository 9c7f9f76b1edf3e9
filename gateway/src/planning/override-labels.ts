import type { SupergraphSchema } from '../lib/supergraph-schema.js';

/** The labels of a supergraph's progressive `@override`s, which select for each request the subgraph that resolves a field. */
export interface OverrideLabels {
  readonly size: number;
  /** Draws which labels are on for a request: a character for each, `1` or `0`, then a bar. */
  draw(): string;
  /** Reads what `draw` returned: whether each label is on. */
  read(text: string): Map<string, boolean>;
  /** Returns what `draw` would for these values; labels without one are drawn. */
  write(values: Readonly<Record<string, boolean>>): string;
}

/**
 * Reads the labels of a supergraph.
 *
 * @param shares the share of requests (0 to 1) for which a label is on; `percent(5)` needs none, and any other label without one is off
 */
export function overrideLabels(supergraph: SupergraphSchema, shares: ReadonlyMap<string, number>): OverrideLabels {
  const labels = new Set<string>();
  for (const type of supergraph.compositeTypes()) {
    for (const field of Object.values(type.getFields())) {
      for (const { overrideLabel } of supergraph.joinsOfField(field)) if (overrideLabel) labels.add(overrideLabel);
    }
  }
  const drawn = [...labels].sort().map((label) => ({ label, share: shares.get(label) ?? percentage(label) }));
  const draw = (isOn: (label: string, share: number) => boolean) =>
    `${drawn.map(({ label, share }) => (isOn(label, share) ? '1' : '0')).join('')}|`;
  const byChance = (_: string, share: number) => Math.random() < share;
  return {
    size: drawn.length,
    draw: () => draw(byChance),
    write: (values) => draw((label, share) => values[label] ?? byChance(label, share)),
    read: (text) => new Map(drawn.map(({ label }, i) => [label, text[i] === '1'])),
  };
}

function percentage(label: string): number {
  const [, percent] = /^percent\((\d{1,3}(?:\.\d+)?)\)$/.exec(label) ?? [];
  return percent === undefined ? 0 : Number(percent) / 100;
}

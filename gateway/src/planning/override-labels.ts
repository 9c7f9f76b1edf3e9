import type { SupergraphSchema } from '../lib/supergraph-schema.js';

/** The labels of a supergraph's progressive `@override`s, which decide anew for each request who resolves a field. */
export interface OverrideLabels {
  readonly size: number;
  /** Which of them are on for a request: a character each, `1` or `0`, then a bar. */
  draw(): string;
  /** The same, by label. */
  read(drawn: string): Map<string, boolean>;
}

/**
 * @param shares for labels of one's own, the share of requests (0 to 1) for which they are on; `percent(5)` needs none. A label of
 * which nothing is known is off.
 */
export function overrideLabels(supergraph: SupergraphSchema, shares: ReadonlyMap<string, number>): OverrideLabels {
  const labels = new Set<string>();
  for (const type of supergraph.compositeTypes()) {
    for (const field of Object.values(type.getFields())) {
      for (const { overrideLabel } of supergraph.joinsOfField(field)) if (overrideLabel) labels.add(overrideLabel);
    }
  }
  const known = [...labels].sort().map((label) => ({ label, share: shares.get(label) ?? percentage(label) }));
  return {
    size: known.length,
    draw: () => `${known.map(({ share }) => (Math.random() < share ? '1' : '0')).join('')}|`,
    read: (drawn) => new Map(known.map(({ label }, i) => [label, drawn[i] === '1'])),
  };
}

function percentage(label: string): number {
  const [, percent] = /^percent\((\d{1,3}(?:\.\d+)?)\)$/.exec(label) ?? [];
  return percent === undefined ? 0 : Number(percent) / 100;
}

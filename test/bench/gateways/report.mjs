// Tables and a chart of what was measured.
import { chart } from './chart.mjs';

const COLUMNS = {
  gateway: ({ name }) => name,
  'requests/s': ({ rps }) => rounded(rps),
  'p50 ms': ({ p50 }) => rounded(p50),
  'p99 ms': ({ p99 }) => rounded(p99),
  'fetches for one': ({ fetches }) => fetches,
  'per request under load': ({ fetchesUnderLoad }) => fetchesUnderLoad.toFixed(2),
  'CPU µs per request': ({ cpuUs }) => rounded(cpuUs),
  'CPU %': ({ cpuShare }) => Math.round(cpuShare * 100),
  'subgraphs CPU %': ({ subgraphsShare }) => Math.round(subgraphsShare * 100),
  'memory MB': ({ memoryMB }) => Math.round(memoryMB),
  'peak MB': ({ peakMB }) => Math.round(peakMB),
};

/** Each gateway's round with the median of requests/s; a gateway that failed in one round has failed. */
export function medians(rounds) {
  return [...new Set(rounds.map(({ name }) => name))].map((name) => {
    const rows = rounds.filter((row) => row.name === name).sort((a, b) => a.rps - b.rps);
    return rows.find(({ error }) => error) ?? rows[Math.floor((rows.length - 1) / 2)];
  });
}

export function titleOf(name, scenario, rows) {
  const bytes = rows.find((row) => row.bytes)?.bytes ?? 0;
  const size = bytes < 1e6 ? `${Math.round(bytes / 1024)} kB` : `${Math.round(bytes / 1e6)} MB`;
  const connections = rows.find((row) => row.connections)?.connections;
  return `${name} (${scenario.about}; ${size}; ${connections} connections)`;
}

/** A Markdown table of a scenario, with ratios of requests/s to the first gateway, and to Hive Router where it was measured. */
export function tableOf(rows) {
  const [first] = rows;
  const columns = { gateway: COLUMNS.gateway, 'requests/s': COLUMNS['requests/s'] };
  columns[`against ${first.name}`] = (row) => ratio(row, first);
  if (rows.some(({ contender }) => contender.isHiveRouter))
    columns['against Hive Router with the same deduplication'] = (row) => ratio(row, routerLike(row, rows));
  const all = Object.entries({ ...columns, ...COLUMNS });
  const line = (cells) => `| ${cells.join(' | ')} |`;
  const body = rows.map((row) =>
    line(
      row.error ? [row.name, `failed: ${row.error}`, ...all.slice(2).map(() => '')] : all.map(([, cell]) => cell(row)),
    ),
  );
  return [line(all.map(([name]) => name)), line(all.map(() => '---')), ...body].join('\n');
}

/** The chart's SVG. @param scenarios `{ title, rows }` each */
export function chartOf(heading, scenarios) {
  const groups = scenarios.map(({ title, rows }) => ({
    title,
    bars: rows
      .filter(({ error }) => !error)
      .map((row) => ({
        name: row.name,
        value: row.rps,
        note: [`${rounded(row.rps)}/s`, ratio(row, rows[0]) && `(${ratio(row, rows[0])}×)`].filter(Boolean).join(' '),
        highlight: row.name.startsWith('Tributary'),
      })),
  }));
  return chart(heading, groups);
}

const routerLike = ({ contender }, rows) =>
  rows.find((row) => row.contender.isHiveRouter && row.contender.deduplicates === contender.deduplicates);

const ratio = (row, other) => (other?.rps ? (row.rps / other.rps).toFixed(row.rps < other.rps * 10 ? 2 : 0) : '');

/** Three digits at least, where there are any. */
const rounded = (value) =>
  value < 10 ? value.toFixed(2) : value < 100 ? value.toFixed(1) : Math.round(value).toString();

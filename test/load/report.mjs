// The report as one HTML file that needs nothing else.
import { percentile } from './client.mjs';

const WIDTH = 820;
const HEIGHT = 180;

/** Per second of the load: how many, how long, how many failed. */
export function perSecond(samples) {
  const seconds = [];
  for (const { at, tookMs, failed } of samples) {
    const second = Math.floor((at + tookMs) / 1000);
    seconds[second] ??= { times: [], failed: 0 };
    seconds[second].times.push(tookMs);
    if (failed) seconds[second].failed += 1;
  }
  return Array.from(seconds, (second) => second ?? { times: [], failed: 0 });
}

export function html(title, facts, tables, samples) {
  const seconds = perSecond(samples);
  const charts = [
    ['Requests a second', seconds.map(({ times }) => times.length), '#1f7a8c'],
    ['p50, ms', seconds.map(({ times }) => percentile(times, 0.5)), '#3a7d44'],
    ['p99, ms', seconds.map(({ times }) => percentile(times, 0.99)), '#b5651d'],
    ['Errors a second', seconds.map(({ failed }) => failed), '#b02a37'],
  ];
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8"><title>${text(title)}</title>
<style>body{font:14px sans-serif;max-width:60em;margin:2em auto;padding:0 1em}table{border-collapse:collapse;margin:1em 0}td,th{border:1px solid #ccc;padding:.3em .7em;text-align:right}td:first-child,th:first-child{text-align:left}svg{display:block;margin:1em 0;background:#fafafa}</style>
<h1>${text(title)}</h1>
<p>${facts.map(text).join('<br>')}</p>
${tables.map(table).join('\n')}
${charts.map(([name, values, colour]) => chart(name, values, colour)).join('\n')}
</html>
`;
}

function table([head, ...rows]) {
  const cells = (row, tag) => `<tr>${row.map((cell) => `<${tag}>${text(String(cell))}</${tag}>`).join('')}</tr>`;
  return `<table>${cells(head, 'th')}${rows.map((row) => cells(row, 'td')).join('')}</table>`;
}

function chart(name, values, colour) {
  const numbers = values.map((value) => (Number.isFinite(value) ? value : 0));
  const most = Math.max(1, ...numbers);
  const step = WIDTH / Math.max(1, numbers.length - 1);
  const points = numbers.map(
    (value, i) => `${(i * step).toFixed(1)},${(HEIGHT - (value / most) * (HEIGHT - 30)).toFixed(1)}`,
  );
  return `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" role="img"><title>${text(name)}</title><text x="4" y="16" font-size="13">${text(name)}: up to ${Math.round(most)}</text><polyline fill="none" stroke="${colour}" stroke-width="2" points="${points.join(' ')}"/></svg>`;
}

function text(value) {
  return value.replace(/[<>&]/g, (c) => ({ '<': '&lt;', '>': '&gt;', '&': '&amp;' })[c]);
}

// Bars, side by side, as SVG.
const WIDTH = 860;
const BAR = 18;
const LABEL = 300;

const escaped = (text) =>
  text.replace(/[<>&"]/g, (c) => ({ '<': '&lt;', '>': '&gt;', '&': '&amp;', '"': '&quot;' })[c]);

/** @param groups `{ title, bars: [{ name, value, note, highlight }] }`; each group has a scale of its own */
export function chart(heading, groups) {
  const parts = [];
  let y = 34;
  parts.push(`<text x="10" y="22" class="heading">${escaped(heading)}</text>`);
  for (const { title, bars } of groups) {
    y += 22;
    parts.push(`<text x="10" y="${y}" class="title">${escaped(title)}</text>`);
    y += 8;
    const most = Math.max(...bars.map(({ value }) => value));
    for (const { name, value, note, highlight } of bars) {
      const width = Math.max(1, ((WIDTH - LABEL - 150) * value) / most);
      parts.push(
        `<text x="${LABEL - 8}" y="${y + 13}" text-anchor="end">${escaped(name)}</text>`,
        `<rect x="${LABEL}" y="${y}" width="${width.toFixed(1)}" height="${BAR - 4}" class="${highlight ? 'ours' : 'peer'}"/>`,
        `<text x="${LABEL + width + 6}" y="${y + 12}">${escaped(note)}</text>`,
      );
      y += BAR;
    }
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${y + 14}" font-family="sans-serif" font-size="12">
<title>${escaped(heading)}</title>
<style>text { fill: #333 } .heading { font-size: 15px; font-weight: bold } .title { font-weight: bold } .peer { fill: #b9c2cc } .ours { fill: #1f7a8c }
@media (prefers-color-scheme: dark) { text { fill: #ddd } .peer { fill: #5c6670 } .ours { fill: #35a7bd } }</style>
${parts.join('\n')}
</svg>
`;
}

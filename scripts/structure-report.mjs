// What `npm run structure -- --report` prints, for a look before a large change. None of it is a limit.
// @ts-check
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

const ROWS = 15;
/** Lines that count as the same code when they stand twice, one after the other. */
const WINDOW = 8;

/** @param {string} root @param {readonly string[]} files */
export function printReport(root, files) {
  // Released migrations are frozen: their length and what they repeat stay.
  const edited = files.filter((file) => !file.includes('/migrations/'));
  const sources = edited.map((file) => ({ file, lines: readFileSync(join(root, file), 'utf8').trimEnd().split('\n') }));
  const folders = new Map();
  for (const { file } of sources) folders.set(dirname(file), (folders.get(dirname(file)) ?? 0) + 1);
  /** @type {[string, [number, string][]][]} */
  const tables = [
    ['Longest files (lines)', sources.map(({ file, lines }) => [lines.length, file])],
    ['Longest functions (lines)', sources.flatMap(({ file, lines }) => functionsIn(file, lines))],
    ['Fullest folders (files)', [...folders].map(([folder, count]) => [count, folder])],
    ['Code that stands twice (lines)', repeatsIn(sources)],
  ];
  for (const [title, rows] of tables) {
    process.stdout.write(`${title}\n`);
    for (const [size, what] of rows.sort(([a], [b]) => b - a).slice(0, ROWS))
      process.stdout.write(`${String(size).padStart(6)}  ${what}\n`);
    process.stdout.write('\n');
  }
}

/**
 * Functions and methods, by the indentation of their first and last lines: the formatter sees to it.
 *
 * @param {string} file @param {readonly string[]} lines @returns {[number, string][]}
 */
function functionsIn(file, lines) {
  const begin =
    /^( *)(?:export )?(?:default )?(?:static )?(?:async )?(?:function\*? (\w+)|(?:get |set |override )*(#?\w+)\(.*|(?:const )(\w+) = (?:async )?\(.*)/;
  /** @type {[number, string][]} */
  const found = [];
  for (const [i, line] of lines.entries()) {
    const [, indent = '', ...names] = begin.exec(line) ?? [];
    const name = names.find(Boolean);
    if (!name || /^(?:if|for|while|switch|return|catch|await)$/.test(name) || !/[{(]$/.test(line)) continue;
    const end = lines.findIndex((each, j) => j > i && [`${indent}}`, `${indent}};`, `${indent}},`].includes(each));
    if (end > i) found.push([end - i + 1, `${name} (${file}:${i + 1})`]);
  }
  return found;
}

/**
 * Runs of equal lines, in two places.
 *
 * @param {readonly { file: string; lines: readonly string[] }[]} sources @returns {[number, string][]}
 */
function repeatsIn(sources) {
  const code = sources.map(({ file, lines }) => ({
    file,
    lines: lines
      .map((line, i) => ({ text: line.trim(), at: i + 1 }))
      .filter(({ text }) => text.length > 2 && !/^(?:\/?\*|\/\/|import |\} from )/.test(text)),
  }));
  /** @type {Map<string, { source: number; index: number }>} */
  const seen = new Map();
  /** @type {[number, string][]} */
  const found = [];
  for (const [s, { file, lines }] of code.entries()) {
    for (let i = 0; i + WINDOW <= lines.length; i++) {
      const key = lines
        .slice(i, i + WINDOW)
        .map(({ text }) => text)
        .join('\n');
      const first = seen.get(key);
      if (!first) {
        seen.set(key, { source: s, index: i });
        continue;
      }
      const other = /** @type {(typeof code)[number]} */ (code[first.source]);
      let length = WINDOW;
      while (lines[i + length] && lines[i + length]?.text === other.lines[first.index + length]?.text) length++;
      found.push([length, `${file}:${lines[i]?.at} and ${other.file}:${other.lines[first.index]?.at}`]);
      i += length - 1;
    }
  }
  return found;
}

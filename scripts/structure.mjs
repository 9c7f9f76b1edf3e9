// npm run structure: packages and the gateway's folders, from the imports of their sources. `npm run structure -- --help`
// @ts-check
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { printReport } from './structure-report.mjs';

const HELP = `Usage: npm run structure [-- OPTIONS]

Prints a picture of the packages and of the gateway's folders, drawn from the imports of their sources.

  --rules        checks that imports follow the order, and prints each that does not
  --write        writes the picture into docs/architecture.md, between its "structure" marks
  --check        fails when that picture is out of date
  --report       prints the longest files and functions, the fullest folders and the code that stands twice
  --root FOLDER  looks at another clone of the project
  --help
`;

/** What each package may import of ours. */
const PACKAGES = {
  consistency: [],
  superstore: [],
  server: ['consistency'],
  bus: ['server', 'consistency'],
  postgres: ['server'],
  events: ['postgres', 'bus', 'server', 'consistency'],
  subgraph: ['events', 'postgres', 'bus', 'server', 'consistency', 'superstore'],
  gateway: ['server', 'consistency', 'bus'],
  users: ['subgraph', 'events', 'postgres', 'bus', 'server', 'consistency', 'superstore'],
  products: ['subgraph', 'events', 'postgres', 'bus', 'server', 'consistency', 'superstore'],
  orders: ['subgraph', 'events', 'postgres', 'bus', 'server', 'consistency', 'superstore'],
  cli: null,
};

/** What each folder of the gateway may import, besides `lib` and `consistency`; null: everything. */
const FOLDERS = {
  app: null,
  server: ['runtime', 'operation'],
  plugins: ['runtime', 'operation', 'planning', 'execution', 'response', 'subgraph', 'cache'],
  warmup: ['runtime', 'operation', 'planning'],
  runtime: ['operation', 'planning', 'execution', 'response', 'subgraph', 'supergraph', 'cache'],
  execution: ['planning', 'operation', 'subgraph', 'cache'],
  response: ['operation'],
  planning: ['operation'],
  operation: [],
  cache: ['subgraph', 'operation'],
  supergraph: ['subgraph'],
  subgraph: [],
  consistency: [],
  lib: [],
};
const FOR_ALL = ['lib', 'consistency'];

/** Where Apollo's packages may be imported: `@apollo/gateway` and composition in supergraph/, all others in planning/. */
const APOLLO_IN = { '@apollo/gateway': ['supergraph'], '@apollo/composition': ['supergraph'], '@apollo/sandbox': [] };

const IMPORT =
  /(?:^|\n)\s*(?:import|export)\s[^'";]*?from\s*'([^']+)'|(?:^|\n)\s*import\s*'([^']+)'|\bimport\(\s*'([^']+)'\s*\)/g;

/**
 * @typedef {{ name: string; folder: string; files: readonly string[] }} Package
 * @typedef {{ file: string; rule: string; todo: string }} Fault
 */

/** Packages by folder, with their sources. @returns {Package[]} */
export function findPackages(/** @type {string} */ root) {
  const folders = [
    ...['gateway', 'cli'],
    ...['shared', 'subgraphs'].flatMap((parent) => foldersIn(join(root, parent)).map((name) => `${parent}/${name}`)),
  ].filter((folder) => existsSync(join(root, folder, 'package.json')));
  return folders.map((folder) => ({
    name: /** @type {string} */ (folder.split('/').at(-1)),
    folder,
    files: sourcesIn(join(root, folder, 'src')).map((file) => relative(root, file)),
  }));
}

const foldersIn = (/** @type {string} */ folder) =>
  existsSync(folder)
    ? readdirSync(folder, { withFileTypes: true })
        .filter((entry) => entry.isDirectory())
        .map(({ name }) => name)
    : [];

function sourcesIn(/** @type {string} */ folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.ts$/.test(entry.name) && !/\.spec\.ts$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

/** The modules that a source imports, also for types only and when it runs. @returns {string[]} */
export function importsOf(/** @type {string} */ text) {
  const code = text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|\s)\/\/.*$/gm, '$1');
  return [...code.matchAll(IMPORT)].map(([, from, effect, dynamic]) => from ?? effect ?? dynamic ?? '');
}

/** The folder of the gateway that a file is in; files beside the folders are `app`. */
const gatewayFolder = (/** @type {string} */ file) =>
  relative('gateway/src', file).includes('/')
    ? /** @type {string} */ (relative('gateway/src', file).split('/')[0])
    : 'app';

/**
 * Reads every import.
 *
 * @returns {{ faults: Fault[]; packages: Map<string, Set<string>>; folders: Map<string, Set<string>> }} what breaks a rule, and
 * what each package and each folder of the gateway imports
 */
export function readStructure(/** @type {string} */ root) {
  const found = findPackages(root);
  const packages = new Map(found.map(({ name }) => [name, new Set()]));
  /** @type {Map<string, Set<string>>} */
  const folders = new Map();
  /** @type {Fault[]} */
  const faults = [];
  for (const { name, files } of found) {
    for (const file of files) {
      const fault = (/** @type {string} */ rule, /** @type {string} */ todo) => faults.push({ file, rule, todo });
      const folder = name === 'gateway' ? gatewayFolder(file) : null;
      if (folder && !folders.has(folder)) folders.set(folder, new Set());
      for (const module of importsOf(readFileSync(join(root, file), 'utf8'))) {
        const [, other, deep] = /^@tributary\/([\w-]+)(\/.*)?$/.exec(module) ?? [];
        if (other) {
          if (other !== name) packages.get(name)?.add(other);
          checkPackage(name, other, deep, module, fault);
        } else if (module.startsWith('.')) {
          const target = normalize(join(dirname(file), module));
          const own = found.find(({ folder: each }) => target.startsWith(`${each}/`));
          if (own?.name !== name)
            fault(
              `imports ${module}, a file outside of its package`,
              'import the public API of the other package by its name',
            );
          else if (folder) {
            const to = gatewayFolder(target);
            if (to !== folder) folders.get(folder)?.add(to);
            checkFolder(root, folder, to, target, module, fault);
          }
        } else if (folder) checkApollo(folder, module, fault);
      }
    }
  }
  for (const [what, graph] of /** @type {const} */ ([
    ['packages', packages],
    ['folders of the gateway', folders],
  ])) {
    const circle = findCircle(graph);
    if (circle)
      faults.push({
        file: circle.join(' → '),
        rule: `is a circle between ${what}`,
        todo: 'move what both need into a package or folder below them',
      });
  }
  return { faults, packages, folders };
}

/** @type {(name: string, other: string, deep: string | undefined, module: string, fault: (rule: string, todo: string) => void) => void} */
function checkPackage(name, other, deep, module, fault) {
  if (deep)
    fault(
      `imports ${module}, a file inside of a package`,
      `export what it needs from the index.ts of ${other}, and import that`,
    );
  const allowed = PACKAGES[/** @type {keyof typeof PACKAGES} */ (name)];
  // A service that somebody adds is one more subgraph.
  const list = allowed === undefined ? PACKAGES.users : allowed;
  if (other === 'test') fault(`imports ${module}, which is for tests only`, 'move what both need into a package');
  else if (other !== name && list && !(/** @type {readonly string[]} */ (list).includes(other)))
    fault(
      `imports @tributary/${other}: ${name} may import ${list.join(', ') || 'no package of ours'}`,
      'move what it needs into a package that it may import, or take it as an argument',
    );
}

/** @type {(root: string, folder: string, to: string, target: string, module: string, fault: (rule: string, todo: string) => void) => void} */
function checkFolder(root, folder, to, target, module, fault) {
  if (to === folder) return;
  const allowed = FOLDERS[/** @type {keyof typeof FOLDERS} */ (folder)];
  if (allowed === undefined)
    fault(`is in ${folder}/, of which no rule says what it may import`, 'add it to FOLDERS in scripts/structure.mjs');
  else if (allowed && !(/** @type {readonly string[]} */ ([...allowed, ...FOR_ALL]).includes(to)))
    fault(
      `imports ${module}: ${folder}/ may import ${[...new Set([...allowed, ...FOR_ALL])].filter((each) => each !== folder).join(', ')}`,
      'take it as an argument, or move what both need below them',
    );
  if (to !== 'app' && existsSync(join(root, 'gateway/src', to, 'index.ts')) && target !== `gateway/src/${to}/index.js`)
    fault(
      `imports ${module} past the index.ts of ${to}/`,
      `export it in gateway/src/${to}/index.ts, and import "../${to}/index.js"`,
    );
}

/** @type {(folder: string, module: string, fault: (rule: string, todo: string) => void) => void} */
function checkApollo(folder, module, fault) {
  const [name] = /^@apollo\/[\w-]+/.exec(module) ?? [];
  if (!name) return;
  const allowed = APOLLO_IN[/** @type {keyof typeof APOLLO_IN} */ (name)] ?? ['planning'];
  if (!(/** @type {readonly string[]} */ (allowed).includes(folder)))
    fault(
      `imports ${name}, which is for ${allowed.map((each) => `${each}/`).join(', ') || 'pages'} only`,
      "use the gateway's own types of planning/ or supergraph/",
    );
}

/** @returns {string[] | null} the names along a circle, the first again at the end */
function findCircle(/** @type {Map<string, Set<string>>} */ graph) {
  const done = new Set();
  /** @type {(name: string, way: string[]) => string[] | null} */
  const visit = (name, way) => {
    if (way.includes(name)) return [...way.slice(way.indexOf(name)), name];
    if (done.has(name)) return null;
    for (const next of graph.get(name) ?? []) {
      const circle = visit(next, [...way, name]);
      if (circle) return circle;
    }
    done.add(name);
    return null;
  };
  for (const name of graph.keys()) {
    const circle = visit(name, []);
    if (circle) return circle;
  }
  return null;
}

/** The same graph without arrows that a longer way stands for. */
function withoutShortcuts(/** @type {Map<string, Set<string>>} */ graph) {
  /** @type {(from: string, to: string, seen: Set<string>) => boolean} */
  const reaches = (from, to, seen) =>
    [...(graph.get(from) ?? [])].some((next) => {
      if (next === to) return true;
      if (seen.has(next)) return false;
      seen.add(next);
      return reaches(next, to, seen);
    });
  return new Map(
    [...graph].map(([from, targets]) => [
      from,
      new Set(
        [...targets].filter((to) => ![...targets].some((other) => other !== to && reaches(other, to, new Set()))),
      ),
    ]),
  );
}

const MARKS = ['<!-- structure -->', '<!-- /structure -->'];

/** The picture as Markdown: a Mermaid diagram of the packages, and one of the gateway's folders. */
export function draw(/** @type {ReturnType<typeof readStructure>} */ { packages, folders }) {
  const diagram = (/** @type {Map<string, Set<string>>} */ graph) => {
    const names = [...graph.keys()].sort();
    const reduced = withoutShortcuts(graph);
    const lines = names.flatMap((from) => [...(reduced.get(from) ?? [])].sort().map((to) => `  ${from} --> ${to}`));
    const single = names.filter((name) => !lines.some((line) => line.trim().split(' --> ').includes(name)));
    return ['```mermaid', 'flowchart TD', ...single.map((name) => `  ${name}`), ...lines, '```'].join('\n');
  };
  return [
    'Packages. An arrow means "imports"; arrows that a longer way implies are left out.',
    diagram(packages),
    'The folders of `gateway/src`; `app` is its files beside them.',
    diagram(folders),
  ].join('\n\n');
}

/** The picture as text: a line per package and folder, with everything that it imports. */
function describe(/** @type {ReturnType<typeof readStructure>} */ { packages, folders }) {
  const lines = (/** @type {Map<string, Set<string>>} */ graph) =>
    [...graph].map(([name, targets]) => `  ${name.padEnd(12)} → ${[...targets].sort().join(', ') || '–'}`);
  return ['Packages', ...lines(packages), '', 'Folders of gateway/src', ...lines(folders)].join('\n');
}

function main() {
  let values;
  try {
    const flag = /** @type {const} */ ({ type: 'boolean' });
    values = parseArgs({
      options: { rules: flag, write: flag, check: flag, report: flag, root: { type: 'string' }, help: flag },
    }).values;
  } catch (error) {
    process.stderr.write(`${/** @type {Error} */ (error).message}\n\n${HELP}`);
    return 2;
  }
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const root = values.root ?? fileURLToPath(new URL('..', import.meta.url));
  if (values.report) {
    printReport(
      root,
      findPackages(root).flatMap(({ files }) => files),
    );
    return 0;
  }
  const structure = readStructure(root);
  if (values.rules) {
    for (const { file, rule, todo } of structure.faults) process.stderr.write(`${file} ${rule}.\n  To do: ${todo}.\n`);
    return structure.faults.length > 0 ? 1 : 0;
  }
  if (!values.write && !values.check) {
    process.stdout.write(`${describe(structure)}\n\n${draw(structure)}\n`);
    return 0;
  }
  const page = join(root, 'docs/architecture.md');
  const text = readFileSync(page, 'utf8');
  const [start = '', end = ''] = MARKS;
  const [from, to] = [text.indexOf(start), text.indexOf(end)];
  if (from < 0 || to < from) {
    process.stderr.write(`docs/architecture.md has no place for the picture: ${start} and ${end}, each on a line.\n`);
    return 1;
  }
  const current = `${text.slice(0, from + start.length)}\n\n${draw(structure)}\n\n${text.slice(to)}`;
  if (values.write) writeFileSync(page, current);
  else if (current !== text) {
    process.stderr.write('The picture in docs/architecture.md is out of date: npm run structure -- --write\n');
    return 1;
  }
  return 0;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exitCode = main();

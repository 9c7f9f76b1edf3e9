// Generates docs/configuration.md from the programs' settings: npm run docs writes it, npm run check fails when it is out of date.
//   node scripts/document-settings.mjs [--check]
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { settings as gateway } from '@tributary/gateway';
import { definition as orders } from '@tributary/orders';
import { definition as products } from '@tributary/products';
import { describeVariables } from '@tributary/server';
import { setUpSettings } from '@tributary/subgraph';
import { definition as users } from '@tributary/users';

const PAGE = fileURLToPath(new URL('../docs/configuration.md', import.meta.url));
const services = { users, products, orders };
const parts = {
  gateway,
  ...Object.fromEntries(
    Object.entries(services).map(([name, { settings }]) => [name, { ...settings, ...setUpSettings }]),
  ),
};

/** One row for what several parts read alike. */
const rows = new Map();
for (const [part, settings] of Object.entries(parts)) {
  for (const { name, preset, required, description, former } of describeVariables(settings)) {
    if (!description) fail(`${name} of ${part} has no description.`);
    const key = `${name} ${description} ${preset}`;
    const row = rows.get(key) ?? { name, preset, required, description, former, readers: [] };
    row.readers.push(part);
    rows.set(key, row);
  }
}

const shown = ({ preset, required }) => (required ? 'required' : preset ? `\`${preset.replaceAll(',', ', ')}\`` : '');
const everybody = Object.keys(parts).length;
const tableOf = (wanted) => {
  const lines = [...rows.values()]
    .filter(({ readers }) => wanted(readers))
    .map((row) => {
      const who = row.readers.length === everybody ? 'all' : row.readers.join(', ');
      return `| \`${row.name}\` | ${who} | ${shown(row)} | ${row.description} |`;
    });
  return ['| variable | read by | default | meaning |', '| --- | --- | --- | --- |', ...lines].join('\n');
};

function formerNames() {
  const renamed = new Map([...rows.values()].flatMap(({ name, former }) => (former ? [[former, name]] : [])));
  const lines = [...renamed].sort().map(([former, name]) => `| \`${former}\` | \`${name}\` |`);
  return ['| former name | name |', '| --- | --- |', ...lines].join('\n');
}

const page = `# Configuration: every environment variable

After this page you can set every variable of the gateway and the services. This page is generated: \`npm run docs\`.

\`\`\`sh
SUBGRAPH_TIMEOUT=2s LOG_LEVEL=debug node gateway/dist/main.js
node gateway/dist/main.js --help        # the settings of one program
\`\`\`

Every program reads its environment once, when it starts, and checks all of it before anything else. It prints every problem, one line each
(\`SUBGRAPH_TIMEOUT: expected a duration such as 5s or 250ms; got "5"\`), and exits with code 1. It also exits with code 1 if a port is in use, a file
cannot be used, or \`setup\` or \`rebuild\` cannot use its database; a wrong command line exits with code 2. A program that serves waits for databases, NATS,
Redis and subgraphs that are down. \`npm start\` and \`npm run dev\` check the settings of all programs, their options, the ports and the data folder before they
start or write anything, and pass the settings on. They ignore what they set themselves, such as \`SUBGRAPHS\` and \`USERS_DATABASE_URL\`, with a warning.

| value | form |
| --- | --- |
| duration | a number with a unit: \`250ms\`, \`5s\`, \`2m\`, \`1h\`, \`30d\`. Only \`0\` needs no unit |
| size, count | a whole number; sizes are in bytes |
| switch | \`on\` or \`off\` |
| list | entries separated by commas; spaces around an entry are ignored |
| secret | any setting can be given as \`NAME_FILE\`: the path of a file that contains the value |

An empty variable counts as not set. A name that differs from a setting by one letter causes a warning.

## The gateway

${tableOf((readers) => readers.join() === 'gateway')}

## One service

${tableOf((readers) => readers.length === 1 && readers[0] !== 'gateway')}

## Several

${tableOf((readers) => readers.length > 1)}

## Former names

A former name still works, and the program prints a warning. When both are set, the new name wins.

${formerNames()}
`;

if (process.argv.includes('--check')) {
  const there = readFileSync(PAGE, 'utf8');
  if (there !== page) fail('docs/configuration.md is out of date: run npm run docs');
  process.stdout.write('docs/configuration.md is up to date.\n');
} else {
  writeFileSync(PAGE, page);
  process.stdout.write('Wrote docs/configuration.md\n');
}

function fail(words) {
  process.stderr.write(`${words}\n`);
  process.exit(1);
}

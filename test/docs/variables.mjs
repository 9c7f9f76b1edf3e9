// docs/configuration.md, made from what the programs read: npm run docs writes it, npm run check fails when it is behind.
//   node test/docs/variables.mjs [--check]
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { settings as gateway } from '@tributary/gateway/config';
import { settings as orders } from '@tributary/orders/config';
import { settings as products } from '@tributary/products/config';
import { describeVariables } from '@tributary/shared/config/variables';
import { setUpSettings } from '@tributary/shared/service/service-command';
import { settings as users } from '@tributary/users/config';

const PAGE = fileURLToPath(new URL('../../docs/configuration.md', import.meta.url));
const services = { users, products, orders };
const parts = {
  gateway,
  ...Object.fromEntries(Object.entries(services).map(([name, settings]) => [name, { ...settings, ...setUpSettings }])),
};

/** One row for what several parts read alike. */
const rows = new Map();
for (const [part, settings] of Object.entries(parts)) {
  for (const { name, preset, required, description } of describeVariables(settings)) {
    if (!description) fail(`${name} of ${part} has no description.`);
    const key = `${name} ${description} ${preset}`;
    const row = rows.get(key) ?? { name, preset, required, description, readers: [] };
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
  return ['| variable | read by | default | what it is |', '| --- | --- | --- | --- |', ...lines].join('\n');
};

const page = `# What can I configure?

Every program reads environment variables, once, when it starts, and says which of them do not fit. Each may be given as \`NAME_FILE\`
instead: the path of a file that holds the value, for secrets. An empty variable counts as not set. Times are \`250ms\`, \`5s\`, \`2m\`.
\`node gateway/dist/main.js --help\` (and so on) lists a program's own. This page is made from the programs: \`npm run docs\`.

## The gateway

${tableOf((readers) => readers.join() === 'gateway')}

## One service

${tableOf((readers) => readers.length === 1 && readers[0] !== 'gateway')}

## Several

${tableOf((readers) => readers.length > 1)}
`;

if (process.argv.includes('--check')) {
  const there = readFileSync(PAGE, 'utf8');
  if (there !== page) fail('docs/configuration.md does not say what the programs read now: npm run docs');
  process.stdout.write('docs/configuration.md says what the programs read.\n');
} else {
  writeFileSync(PAGE, page);
  process.stdout.write('Wrote docs/configuration.md\n');
}

function fail(words) {
  process.stderr.write(`${words}\n`);
  process.exit(1);
}

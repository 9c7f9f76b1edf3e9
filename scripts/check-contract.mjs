// Part of npm run check: composes the graph from the built services, without any database, and compares it with docs/schema.graphql, which is
// what clients were promised. A change that can break a client fails the check.
//   node scripts/check-contract.mjs [another schema file]
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { composeServices } from '@apollo/composition';
import { Supergraph } from '@apollo/federation-internals';
import { withDirectives } from '@tributary/gateway';
import { definition as orders } from '@tributary/orders';
import { definition as products } from '@tributary/products';
import { definition as users } from '@tributary/users';
import { buildSchema, findBreakingChanges, graphql, parse } from 'graphql';

const promised = process.argv[2] ?? fileURLToPath(new URL('../docs/schema.graphql', import.meta.url));

/** No field is resolved here, so nothing is asked of it. */
const NO_DATABASE = {};

function fail(lines) {
  process.stderr.write(`${lines.join('\n')}\n`);
  process.exit(1);
}

// One after the other: type-graphql builds one schema at a time.
const services = [];
for (const { name, load, readConfig } of [users, products, orders]) {
  const databaseUrl = 'postgres://nobody@localhost/none';
  const config = readConfig({ [`${name.toUpperCase()}_DATABASE_URL`]: databaseUrl });
  const { createParts } = await load();
  const schema = await createParts(config, { databaseUrl, logger: console }).createSchema(NO_DATABASE);
  const { data } = await graphql({ schema, source: '{ _service { sdl } }' });
  services.push({ name, url: `http://${name}`, typeDefs: parse(data._service.sdl) });
}
const { supergraphSdl, errors } = composeServices(services);
if (!supergraphSdl) fail(['The subgraphs do not compose:', ...errors.map(({ message }) => `  ${message}`)]);
const composed = withDirectives(Supergraph.build(supergraphSdl).apiSchema().toGraphQLJSSchema());

const broken = findBreakingChanges(buildSchema(readFileSync(promised, 'utf8')), composed);
if (broken.length > 0) {
  fail([
    `Clients that rely on ${promised} would break:`,
    ...broken.map(({ description }) => `  ${description}`),
    'Deprecate first, and add beside what is there. Where nobody can rely on it: npx vitest run schema -u, and a line in the changelog.',
  ]);
}
process.stdout.write('No client breaks: everything in docs/schema.graphql is there.\n');

// Generates generated/graphql.ts, the types of operations.graphql, from the schema.
//   node generate.mjs [schema file] [folder]
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { preset } from '@graphql-codegen/client-preset';
import { codegen } from '@graphql-codegen/core';
import { parse } from 'graphql';

const here = fileURLToPath(new URL('.', import.meta.url));
const schema = parse(readFileSync(process.argv[2] ?? join(here, '../schema.graphql'), 'utf8'));
const folder = process.argv[3] ?? here;
const location = join(folder, 'operations.graphql');
const rawSDL = readFileSync(location, 'utf8');

const files = await preset.buildGeneratesSection({
  baseOutputDir: join(folder, 'generated/'),
  schema,
  documents: [{ location, rawSDL, document: parse(rawSDL) }],
  config: {
    documentMode: 'string',
    scalars: { DateTime: 'string', Decimal: 'string', JSON: 'unknown' },
    useTypeImports: true,
    strictScalars: true,
  },
  presetConfig: { fragmentMasking: false },
  plugins: [],
  pluginMap: {},
  profiler: { run: (work) => work() },
});
for (const file of files.filter(({ filename }) => filename.endsWith('/graphql.ts'))) {
  const text = await codegen(file);
  mkdirSync(dirname(file.filename), { recursive: true });
  writeFileSync(file.filename, text);
  console.log(file.filename);
}

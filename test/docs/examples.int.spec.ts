import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterAll, expect, test } from 'vitest';

const PROJECT = fileURLToPath(new URL('../../', import.meta.url));
/** Inside the project, so that the examples' imports of its packages resolve. */
const FOLDER = join(PROJECT, 'test/docs/generated-examples');
const FENCE = '`'.repeat(3);

interface Example {
  readonly name: string;
  readonly code: string;
}

/** The code blocks of the docstrings' `@example`s and of the packages' READMEs. Each is a module of its own that fails by throwing. */
function findExamples(): Example[] {
  const listed = execFileSync('git', ['ls-files', '-z', 'shared', 'gateway', 'subgraphs'], { cwd: PROJECT });
  return listed
    .toString()
    .split('\0')
    .filter((file) => /\/src\/.*(?<!\.spec)\.ts$|\/README\.md$/.test(file))
    .flatMap((file) => {
      const text = readFileSync(join(PROJECT, file), 'utf8');
      const blocks = file.endsWith('.md') ? [text] : docstringExamples(text);
      const fences = blocks.flatMap((block) => [...block.matchAll(new RegExp(`^${FENCE}ts\n(.*?)^${FENCE}`, 'gms'))]);
      return fences.map(([, code = ''], i) => ({ name: `${file} ${i + 1}`, code }));
    });
}

/** What follows each `@example`, without the stars of the comment. */
function docstringExamples(source: string): string[] {
  const comments = [...source.matchAll(/\/\*\*.*?\*\//gs)].map(([comment]) => comment.replace(/^ *\* ?/gm, ''));
  return comments.flatMap((comment) => comment.split('@example').slice(1));
}

const examples = findExamples();
const fileOf = (index: number) => join(FOLDER, `example-${index}.ts`);

rmSync(FOLDER, { recursive: true, force: true });
mkdirSync(FOLDER, { recursive: true });
for (const [i, { code }] of examples.entries()) writeFileSync(fileOf(i), `${code}\nexport {};\n`);
const settings = {
  extends: '../../../tsconfig.json',
  compilerOptions: { noEmit: true, customConditions: ['source'], rootDir: PROJECT, allowImportingTsExtensions: true },
  files: examples.map((_, i) => fileOf(i)),
};
writeFileSync(join(FOLDER, 'tsconfig.json'), JSON.stringify(settings));
afterAll(() => rmSync(FOLDER, { recursive: true, force: true }));

test('the packages have examples, and these compile', () => {
  expect(examples.length).toBeGreaterThan(0);
  try {
    execFileSync(join(PROJECT, 'node_modules/.bin/tsc'), ['-p', FOLDER], { encoding: 'utf8' });
  } catch (error) {
    const output = (error as { stdout: string }).stdout;
    throw new Error(output.replace(/example-(\d+)\.ts/g, (_, i) => examples[Number(i)]?.name ?? ''));
  }
});

test.each(examples.map(({ name }, i) => ({ name, i })))('the example in $name runs', async ({ i }) => {
  await import(/* @vite-ignore */ pathToFileURL(fileOf(i)).href);
});

import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

// What the pages point to exists.

const PROJECT = fileURLToPath(new URL('../../', import.meta.url));
const files = execFileSync('git', ['ls-files', '-z'], { cwd: PROJECT })
  .toString()
  .split('\0')
  .filter((file) => file !== '' && existsSync(join(PROJECT, file)));
const pages = files.filter((file) => /^(?:[A-Z]+|docs\/.*)\.md$/.test(file));
const read = (file: string) => readFileSync(join(PROJECT, file), 'utf8').replace(/^```.*?^```$/gms, '');

/** The anchors of a page's headings, as GitHub makes them. */
const anchorsOf = (file: string) =>
  [...read(file).matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\w\- ]/g, '')
      .trim()
      .replaceAll(' ', '-'),
  );

test.each(pages)('the links of %s lead somewhere', (page) => {
  const broken = [...read(page).matchAll(/\]\((?!https?:)([^)\s]+)\)/g)]
    .map(([, link]) => link as string)
    .filter((link) => {
      const [path, anchor] = link.split('#') as [string, string?];
      const target = path === '' ? page : normalize(join(dirname(page), path));
      if (!existsSync(join(PROJECT, target))) return true;
      return anchor !== undefined && !anchorsOf(target).includes(anchor);
    });
  expect(broken).toEqual([]);
});

test('docs/README.md lists every page', () => {
  const index = read('docs/README.md');
  const others = pages.filter((page) => /^docs\/[\w-]+\.md$/.test(page) && page !== 'docs/README.md');
  expect(others.filter((page) => !index.includes(`(${page.replace('docs/', '')})`))).toEqual([]);
});

test('docs/architecture.md names files that exist, each once', () => {
  const named = [...read('docs/architecture.md').matchAll(/`([\w./-]+\.(?:ts|mjs))`/g)].map(([, name]) =>
    (name as string).replaceAll('../', ''),
  );
  expect(named.length).toBeGreaterThan(50);
  expect(named.filter((name) => !files.some((file) => `/${file}`.endsWith(`/${name}`)))).toEqual([]);
  expect(named.filter((name, i) => named.indexOf(name) !== i)).toEqual([]);
});

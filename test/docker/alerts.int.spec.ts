import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { startGraph } from '../harness/graph.ts';

test('every metric that an alerting rule or a page names is there', async () => {
  const read = (path: string) => readFileSync(fileURLToPath(new URL(`../../${path}`, import.meta.url)), 'utf8');
  const rules = [...read('docker/alerts.yaml').matchAll(/expr: .*\((\w+)\)/g)].map(([, name]) => name as string);
  expect(rules.length).toBeGreaterThan(3);
  const pages = ['docs/orders.md', 'docs/events.md'].flatMap((page) =>
    [...read(page).matchAll(/`((?:sagas?|relay|copy|dead|audit)_\w+)/g)].map(([, name]) => name as string),
  );
  const graph = await startGraph();
  const texts = await Promise.all(
    [graph.urls.users, graph.urls.products, graph.urls.orders].map(async (url) =>
      (await fetch(`${url}/metrics`)).text(),
    ),
  );
  await graph.stop();
  const known = new Set(texts.flatMap((text) => [...text.matchAll(/^# TYPE (\w+)/gm)].map(([, name]) => name)));
  expect([...rules, ...pages].filter((name) => !known.has(name) && !/_(copy|read|events)$/.test(name))).toEqual([]);
});

// npm run bench:growth: what a request costs as answers, lists, subgraphs and operations grow; one client, no deduplication.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import { freePort } from '@tributary/cli';
import { readNumbers } from '../../command-line.mjs';
import { typeDefs } from './growth-subgraphs.mjs';
import { CONTENDERS, installPeers, pinSelf, startNode } from './peers.mjs';
import { answering, compose } from './workload.mjs';

const [seconds] = readNumbers(
  { seconds: 3 },
  `npm run bench:growth -- [seconds]

  seconds  how long each case is measured, per gateway (3)`,
);
const OURS = 'Tributary, no deduplication';
const STOCK = '@apollo/gateway';

const range = (n) => Array.from({ length: n }, (_, i) => i);
const things = (count, size, fields) => `{ things(count: ${count}, size: ${size}) { id ${fields} } }`;
const AXES = [
  {
    name: 'size of the answer',
    cases: [1, 10, 100, 1000, 10_000].map((kB) => [`${kB} kB`, [things(10, kB * 100, 'text')]]),
  },
  {
    name: 'entities in a list, each with a field of another subgraph',
    cases: [10, 100, 1000, 10_000].map((n) => [String(n), [things(n, 0, 'f1')]]),
  },
  {
    name: 'subgraphs in one query, 20 entities',
    cases: [1, 5, 10, 25, 49].map((n) => [
      String(n + 1),
      [
        things(
          20,
          0,
          range(n)
            .map((i) => `f${i + 1}`)
            .join(' '),
        ),
      ],
    ]),
  },
  {
    name: 'different operations, one after the other',
    cases: [100, 1000, 10_000].map((n) => [String(n), range(n).map((i) => things(10, 8, `a${i}: text f1 f2`))]),
  },
];

installPeers();
pinSelf(1);
const folder = mkdtempSync(join(tmpdir(), 'tributary-growth-'));
const replayPort = await freePort();
const supergraph = join(folder, 'supergraph.graphql');
writeFileSync(
  supergraph,
  compose(typeDefs, (name) => `http://127.0.0.1:${replayPort}/${name}`),
);
const replay = startNode(1, [fileURLToPath(new URL('./replay.mjs', import.meta.url))], {
  PORT: String(replayPort),
  TARGETS: 'growth',
});
try {
  await answering(`http://127.0.0.1:${replayPort}/`);
  const ours = await measureAll(OURS);
  const stock = await measureAll(STOCK);
  for (const { name, cases } of AXES) {
    process.stdout.write(`\n| ${name} | Tributary, ms | ${STOCK}, ms | ratio |\n| --- | --- | --- | --- |\n`);
    for (const [label] of cases) {
      const [a, b] = [ours, stock].map((measured) => measured.get(`${name} ${label}`));
      process.stdout.write(`| ${label} | ${a.toFixed(2)} | ${b.toFixed(2)} | ${(b / a).toFixed(1)} |\n`);
    }
  }
} finally {
  replay.stop();
  rmSync(folder, { recursive: true, force: true });
}

/** The mean time of a request in milliseconds, for each case. */
async function measureAll(contender) {
  const { command, env } = CONTENDERS[contender];
  const port = await freePort();
  const gateway = startNode(0, command, { ...env, PORT: String(port), SUPERGRAPH_PATH: supergraph });
  const url = `http://127.0.0.1:${port}/graphql`;
  const ask = async (query) => {
    const headers = { 'content-type': 'application/json' };
    const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify({ query }) });
    const text = await response.text();
    if (!response.ok || text.includes('"errors"')) throw new Error(`${contender}: ${text.slice(0, 300)}`);
  };
  const measured = new Map();
  try {
    await answering(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"query":"{ __typename }"}',
    });
    for (const { name, cases } of AXES) {
      for (const [label, queries] of cases) {
        process.stderr.write(`${contender}: ${name}: ${label}… `);
        // Each operation once, so that everything that can be cached is.
        for (const query of queries) await ask(query);
        const started = performance.now();
        let requests = 0;
        // Repeats the operations where they differ, so that cached plans are used.
        while (requests < 3 || performance.now() - started < seconds * 1000)
          await ask(queries[requests++ % queries.length]);
        measured.set(`${name} ${label}`, (performance.now() - started) / requests);
        process.stderr.write(`${measured.get(`${name} ${label}`).toFixed(2)} ms\n`);
      }
    }
    return measured;
  } finally {
    gateway.stop();
  }
}

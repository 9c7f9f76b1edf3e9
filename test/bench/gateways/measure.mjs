// One gateway on one scenario: the same answer as the others, then requests/s, latency, fetches, processor time and memory.
import { freePort } from '@tributary/cli';
import { distinctBody, load, TOKENS } from './load.mjs';
import { startContender } from './peers.mjs';
import { readGroup, untilIdle } from './process-group.mjs';
import { bodyOf } from './scenarios.mjs';
import { answering } from './workload.mjs';

const CONNECTIONS = 50;

/**
 * @param setting `{ supergraph, subgraphs: { port, pid }, seconds, generator, expected }`; `expected.text` is the answer of whichever came first
 * @throws when it answers with errors, something else than the others, or not at all
 */
export async function measure(contender, scenario, { supergraph, subgraphs, seconds, generator, expected }) {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}/graphql`;
  const gateway = startContender(0, contender, { port, supergraph });
  const body = bodyOf(scenario);
  const fetches = async () => (await (await fetch(`http://127.0.0.1:${subgraphs.port}/`)).json()).count;
  const { connections = CONNECTIONS } = scenario;
  try {
    const text = await Promise.race([dataOf(url, body), gateway.ended]);
    expected.text ??= text;
    if (text !== expected.text) throw new Error('it answers something else than the first did');
    const atFirst = await fetches();
    await dataOf(url, body);
    const alone = (await fetches()) - atFirst;
    await load(generator, { url, body, connections, seconds: Math.ceil(seconds / 2) });
    // Requests that the warm-up gave up are worked on for a while.
    await untilIdle(gateway.pid);
    const read = async () => ({
      ...readGroup(gateway.pid),
      subgraphsMs: readGroup(subgraphs.pid).cpuMs,
      fetches: await fetches(),
    });
    const before = await read();
    const { requests, ms, p50, p99 } = await load(generator, { url, body, connections, seconds: Math.ceil(seconds) });
    const after = await read();
    return {
      rps: (requests / ms) * 1000,
      p50,
      p99,
      fetches: alone,
      fetchesUnderLoad: (after.fetches - before.fetches) / requests,
      cpuUs: ((after.cpuMs - before.cpuMs) / requests) * 1000,
      cpuShare: (after.cpuMs - before.cpuMs) / ms,
      subgraphsShare: (after.subgraphsMs - before.subgraphsMs) / ms,
      memoryMB: after.memoryMB,
      peakMB: after.peakMB,
      bytes: expected.text.length,
      connections,
    };
  } finally {
    gateway.stop();
  }
}

/** The data of the answer, with sorted fields and without the request's own number; throws when there are errors. */
async function dataOf(url, body) {
  const headers = { 'content-type': 'application/json' };
  const response = await answering(url, { method: 'POST', headers, body: distinctBody(body) });
  const answer = await response.json();
  if (answer.errors || !answer.data) throw new Error(`it answers ${JSON.stringify(answer).slice(0, 500)}`);
  return JSON.stringify(sorted(answer.data)).replace(TOKENS, '#');
}

function sorted(value) {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.keys(value)
      .sort()
      .map((key) => [key, sorted(value[key])]),
  );
}

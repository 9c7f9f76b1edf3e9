// Subgraphs that cost next to nothing: each request is answered for real once, then replayed as the same bytes.
// env: PORT; TARGETS: "shop", "growth", or JSON of the running services by name; DELAY_MS: what is added to each answer's time;
// DISTINCT: requests that differ in numbered tokens only are one, answered with their own. GET / returns the number of requests.
import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { answer as answerGrowth } from './growth-subgraphs.mjs';
import { TOKENS } from './load.mjs';
import { answer as answerShop } from './shop.mjs';

const MADE_UP = { shop: answerShop, growth: answerGrowth };
const { TARGETS, DISTINCT } = process.env;
const delayMs = Number(process.env.DELAY_MS ?? 0);
const targets = TARGETS in MADE_UP ? null : JSON.parse(TARGETS);
const recorded = new Map();
let count = 0;

async function answer(subgraph, body) {
  if (!targets) return MADE_UP[TARGETS](subgraph, body);
  const headers = { 'content-type': 'application/json' };
  return (await fetch(targets[subgraph], { method: 'POST', headers, body })).text();
}

async function replaySame(subgraph, body) {
  const key = subgraph + body.toString('latin1');
  const bytes = recorded.get(key) ?? Buffer.from(await answer(subgraph, body.toString()));
  recorded.set(key, bytes);
  return bytes;
}

/** As if it were the recorded request: its tokens in place of the recorded ones, in the order in which they appear. */
async function replayDistinct(subgraph, body) {
  const text = body.toString();
  const tokens = [...new Set(text.match(TOKENS))];
  const key = subgraph + text.replace(TOKENS, (token) => `#${tokens.indexOf(token)}`);
  const record = recorded.get(key) ?? { text: await answer(subgraph, text), tokens };
  recorded.set(key, record);
  return Buffer.from(record.text.replace(TOKENS, (token) => tokens[record.tokens.indexOf(token)] ?? token));
}

const replay = DISTINCT ? replayDistinct : replaySame;
const server = createServer((request, response) => {
  if (request.method === 'GET') return response.end(JSON.stringify({ count }));
  const chunks = [];
  request.on('data', (chunk) => chunks.push(chunk));
  request.on('end', async () => {
    count += 1;
    const bytes = await replay(request.url.slice(1), Buffer.concat(chunks));
    if (delayMs > 0) await sleep(delayMs);
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': bytes.length });
    response.end(bytes);
  });
});
server.keepAliveTimeout = 60_000;
server.listen(Number(process.env.PORT), '127.0.0.1');

// Subgraphs that cost next to nothing: each request is answered for real once, then replayed as the same bytes.
// env: PORT, and TARGETS: "shop", "growth", or JSON of the running services by name. GET / says how many requests there were.
import { createServer } from 'node:http';
import { answer as answerGrowth } from './growth-subgraphs.mjs';
import { answer as answerShop } from './shop.mjs';

const MADE_UP = { shop: answerShop, growth: answerGrowth };
const { TARGETS } = process.env;
const targets = TARGETS in MADE_UP ? null : JSON.parse(TARGETS);
const recorded = new Map();
let count = 0;

async function answer(subgraph, body) {
  if (!targets) return MADE_UP[TARGETS](subgraph, body);
  const headers = { 'content-type': 'application/json' };
  return (await fetch(targets[subgraph], { method: 'POST', headers, body })).text();
}

const server = createServer((request, response) => {
  if (request.method === 'GET') return response.end(JSON.stringify({ count }));
  const chunks = [];
  request.on('data', (chunk) => chunks.push(chunk));
  request.on('end', async () => {
    count += 1;
    const subgraph = request.url.slice(1);
    const body = Buffer.concat(chunks);
    const key = subgraph + body.toString('latin1');
    const bytes = recorded.get(key) ?? Buffer.from(await answer(subgraph, body.toString()));
    recorded.set(key, bytes);
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': bytes.length });
    response.end(bytes);
  });
});
server.keepAliveTimeout = 60_000;
server.listen(Number(process.env.PORT), '127.0.0.1');

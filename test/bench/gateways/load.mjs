// Load on a gateway: as many connections as asked for, each with its next request when it has the answer to the last.
// wrk makes it, or autocannon, which costs several times as much processor time and is the bound for fast gateways.
import { spawn, spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import autocannon from 'autocannon';

const SCRIPT = fileURLToPath(new URL('./load.lua', import.meta.url));
const TIMEOUT_S = 30;

/** In the body of a request, this stands for a number of its own; so it does in what subgraphs are asked. */
export const TOKEN = 'x00000000';
export const TOKENS = /x\d{8}/g;

export const GENERATORS = { wrk: loadFromWrk, autocannon: loadFromAutocannon };

export const hasWrk = () => spawnSync('wrk', ['-v'], { stdio: 'ignore' }).error === undefined;

/** The numbers that requests had in place of TOKEN; they are never used again. */
let used = 1;

/** A body with a number of its own. */
export const distinctBody = (body) => body.replaceAll(TOKEN, `x${String(used++).padStart(8, '0')}`);

/**
 * @param target `{ url, body, connections, seconds }`; without TOKEN in it, the body is the same each time
 * @returns `{ requests, ms, p50, p99 }`, all about requests with a right answer; it throws when there are others
 */
export async function load(generator, target) {
  const measured = await GENERATORS[generator](target);
  const { requests, failed, example } = measured;
  if (failed > 0) throw new Error(`${failed} of ${requests} requests failed: ${example || 'no response'}`);
  if (requests === 0) throw new Error(`no request was answered within ${target.seconds} s`);
  return measured;
}

async function loadFromWrk({ url, body, connections, seconds }) {
  const args = ['-t1', `-c${connections}`, `-d${seconds}s`, '--timeout', `${TIMEOUT_S}s`, '-s', SCRIPT, url];
  const distinct = body.includes(TOKEN) ? { TOKEN } : {};
  const env = { PATH: process.env.PATH, REQUEST_BODY: body, FIRST: String(used), ...distinct };
  const child = spawn('wrk', args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk));
  await new Promise((resolve, reject) => child.once('error', reject).once('close', resolve));
  const line = /^LOAD (.*)$/m.exec(output)?.[1];
  if (!line) throw new Error(`wrk failed: ${output.trim()}`);
  const measured = JSON.parse(line);
  // More than were answered: each connection had one request on its way at the end, at most.
  used += measured.requests + 2 * connections;
  return measured;
}

async function loadFromAutocannon({ url, body, connections, seconds }) {
  let right;
  let example = '';
  const verifyBody = (text) => {
    if (text === right) return true;
    const isRight = text.includes('"data"') && !text.includes('"errors"');
    if (isRight) right = text;
    else example = text.slice(0, 300);
    return isRight;
  };
  const distinct = { requests: [{ setupRequest: (request) => ({ ...request, body: distinctBody(body) }) }] };
  const result = await autocannon({
    url,
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body,
    connections,
    duration: seconds,
    timeout: TIMEOUT_S,
    verifyBody,
    ...(body.includes(TOKEN) ? distinct : {}),
  });
  const { requests, latency, errors, non2xx, mismatches } = result;
  return {
    requests: requests.total,
    ms: result.duration * 1000,
    p50: latency.p50,
    p99: latency.p99,
    failed: errors + non2xx + mismatches,
    example,
  };
}

// The same scenarios for k6 (https://k6.io):
//   k6 run -e SCENARIO=storefront -e URL=http://localhost:4000 [-e CLIENTS=32 | -e RATE=200 | -e RAMP=1] [-e DURATION=30s] test/load/k6.js
import { check, fail } from 'k6';
import http from 'k6/http';
import { DATA_QUERY, dataOf, SCENARIOS } from './scenarios.mjs';

const { SCENARIO = 'storefront', URL = 'http://localhost:4000', CLIENTS = '32', RATE, RAMP, DURATION = '30s' } = __ENV;
const scenario = SCENARIOS[SCENARIO];
if (!scenario) throw new Error(`There is no scenario "${SCENARIO}". There are ${Object.keys(SCENARIOS).join(', ')}.`);

function load() {
  if (RATE) {
    const [rate, clients] = [Number(RATE), Number(CLIENTS)];
    return { executor: 'constant-arrival-rate', rate, duration: DURATION, preAllocatedVUs: clients, maxVUs: 2000 };
  }
  if (!RAMP) return { executor: 'constant-vus', vus: Number(CLIENTS), duration: DURATION };
  const stages = [1, 2, 4, 8, 16, 32, 64, 128, 256].map((target) => ({ target, duration: '5s' }));
  return { executor: 'ramping-vus', startVUs: 1, stages };
}

export const options = {
  scenarios: { [SCENARIO]: load() },
  summaryTrendStats: ['p(50)', 'p(95)', 'p(99)', 'max'],
  thresholds: { checks: ['rate==1'] },
};

function post(body, tags) {
  const headers = { 'content-type': 'application/json' };
  return http.post(`${URL}/graphql`, JSON.stringify(body), { headers, tags, timeout: '15s' });
}

export function setup() {
  const response = post({ query: DATA_QUERY });
  if (response.status !== 200) fail(`${URL} cannot be asked (status ${response.status}).`);
  return dataOf(response.json('data'));
}

export default function (data) {
  const { name, query, variables } = scenario.next(data);
  check(post({ query, variables }, { operation: name }), {
    'it was answered': ({ status }) => status === 200,
    'without errors': (response) => response.status === 200 && !response.json('errors'),
  });
}

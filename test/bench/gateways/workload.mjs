// What the benchmarks of gateways have in common.
import { setTimeout as sleep } from 'node:timers/promises';
import { composeServices } from '@apollo/composition';
import { parse } from 'graphql';

/** The supergraph of subgraphs: each one's schema, and where it answers. */
export function compose(schemas, urlOf) {
  const services = Object.entries(schemas).map(([name, sdl]) => ({ name, url: urlOf(name), typeDefs: parse(sdl) }));
  const { supergraphSdl, errors } = composeServices(services);
  if (!supergraphSdl) throw new Error(errors.map(({ message }) => message).join('\n'));
  return supergraphSdl;
}

/** The schemas of running subgraphs, given their URLs. */
export async function schemasOf(subgraphs) {
  const body = JSON.stringify({ query: '{ _service { sdl } }' });
  const headers = { 'content-type': 'application/json' };
  const entries = Object.entries(subgraphs).map(async ([name, url]) => {
    const { data } = await (await fetch(url, { method: 'POST', headers, body })).json();
    return [name, data._service.sdl];
  });
  return Object.fromEntries(await Promise.all(entries));
}

/** Asks again until it is answered, for half a minute. */
export async function answering(url, request) {
  for (let attempt = 0; ; attempt++) {
    try {
      const response = await fetch(url, request);
      if (response.ok) return response;
      if (attempt > 150) throw new Error(await response.text());
    } catch (error) {
      if (attempt > 150) throw error;
    }
    await sleep(200);
  }
}

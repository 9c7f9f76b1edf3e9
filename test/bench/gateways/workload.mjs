// What the benchmarks of gateways have in common.
import { setTimeout as sleep } from 'node:timers/promises';
import { composeServices } from '@apollo/composition';
import { parse } from 'graphql';

/** The supergraph of subgraphs that all answer at one port, each under its name. */
export function compose(schemas, port) {
  const services = Object.entries(schemas).map(([name, sdl]) => ({
    name,
    url: `http://127.0.0.1:${port}/${name}`,
    typeDefs: parse(sdl),
  }));
  const { supergraphSdl, errors } = composeServices(services);
  if (!supergraphSdl) throw new Error(errors.map(({ message }) => message).join('\n'));
  return supergraphSdl;
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

import { Agent, request } from 'node:http';
import { until } from './until.ts';

/** Asks, and says what became of it: the data, or what went wrong. */
export function askOnce(url: string, agent: Agent | false): Promise<string> {
  return new Promise((resolve) => {
    const outgoing = request(
      `${url}/graphql`,
      { agent, method: 'POST', headers: { 'content-type': 'application/json' } },
      (response) => {
        let text = '';
        response.on('data', (chunk) => {
          text += chunk;
        });
        response.on('end', () => resolve(text));
        response.on('error', (error) => resolve(error.message));
      },
    );
    outgoing.on('error', (error) => resolve(error.message));
    outgoing.end('{"query":"{ name }"}');
  });
}

/** Clients that send requests until they are stopped: some keep their connections alive, some open one for each request. */
export function startClients(url: string) {
  const keepAliveAgent = new Agent({ keepAlive: true, maxSockets: 8 });
  const answers = new Map<string, number>();
  let stopped = false;
  const client = async (agent: Agent | false) => {
    while (!stopped) {
      const answer = await askOnce(url, agent);
      answers.set(answer, (answers.get(answer) ?? 0) + 1);
    }
  };
  const clients = Promise.all([
    ...Array.from({ length: 8 }, () => client(keepAliveAgent)),
    client(false),
    client(false),
  ]);
  const count = () => [...answers.values()].reduce((all, n) => all + n, 0);
  return {
    count,
    /** @returns how often each answer came */
    async stop() {
      stopped = true;
      await clients;
      keepAliveAgent.destroy();
      return answers;
    },
    async more(n: number) {
      const before = count();
      await until(
        async () => count(),
        (now) => now >= before + n,
      );
    },
  };
}

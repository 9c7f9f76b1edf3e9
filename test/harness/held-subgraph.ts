import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buildSubgraphSchema } from '@apollo/subgraph';
import { graphql, parse } from 'graphql';

const LINK = `
  extend schema @link(url: "https://specs.apollo.dev/federation/v2.9", import: ["@key", "@composeDirective"])
  extend schema @link(url: "https://tributary.dev/cache/v0.1", import: ["@cacheControl"]) @composeDirective(name: "@cacheControl")
  directive @cacheControl(scope: String! = "PUBLIC", of: [String!]! = []) on OBJECT | FIELD_DEFINITION
`;

/** A subgraph in whose answers what was read when the request came; a test can hold them up. */
export interface HeldSubgraph {
  readonly url: string;
  /** The bodies of requests, in the order in which they came. */
  readonly requests: readonly string[];
  /** From which state it answers, as the header says. */
  positions: string;
  /** Which requests are not answered until `answer` is called. */
  holds: (body: string) => boolean;
  /** Answers what is held, and holds nothing more. */
  answer(): void;
  stop(): Promise<void>;
}

/** @param resolvers called when a request arrives, not when it is answered */
export async function startHeldSubgraph(sdl: string, resolvers: Record<string, unknown>): Promise<HeldSubgraph> {
  const schema = buildSubgraphSchema({ typeDefs: parse(LINK + sdl), resolvers: resolvers as never });
  const requests: string[] = [];
  const held: (() => void)[] = [];
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks).toString();
    const { query, variables, operationName } = JSON.parse(body);
    const { positions } = subgraph;
    const isHeld = subgraph.holds(body);
    const result = await graphql({ schema, source: query, variableValues: variables, operationName });
    const answer = () => {
      response.setHeader('content-type', 'application/json');
      response.setHeader('x-positions', positions);
      response.end(JSON.stringify(result));
    };
    requests.push(body);
    if (isHeld) held.push(answer);
    else answer();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const subgraph: HeldSubgraph = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    positions: '',
    holds: () => false,
    answer() {
      subgraph.holds = () => false;
      for (const each of held.splice(0)) each();
    },
    async stop() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
  return subgraph;
}

import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buildSubgraphSchema } from '@apollo/subgraph';
import { type GraphQLSchema, graphql, parse } from 'graphql';

const FEDERATION = `extend schema @link(url: "https://specs.apollo.dev/federation/v2.9", import: ["@key", "@shareable"])\n`;

/** A subgraph that a test can change, slow down and break while a gateway uses it. */
export interface TestSubgraph {
  readonly url: string;
  /** Serves another schema from now on. Fields answer their own names unless a resolver is given. */
  serve(sdl: string): void;
  /** Answers every request in its own way from now on; undefined goes back to GraphQL. */
  answerWith(answer: Answer | undefined): void;
  /** Stops listening and cuts every connection. */
  down(): Promise<void>;
  /** Listens again, on the port that it had. */
  up(): Promise<void>;
}

export interface TestRequest {
  readonly headers: IncomingHttpHeaders;
  readonly query: string;
  readonly operationName?: string;
  // biome-ignore lint/suspicious/noExplicitAny: as loose as JSON
  readonly variables: Record<string, any>;
}

// biome-ignore lint/suspicious/noExplicitAny: as loose as the package has them
export type Resolvers = Record<string, any>;

export type Answer = (response: ServerResponse, request: TestRequest) => void;

/** @param resolvers of its first schema */
export async function startTestSubgraph(sdl: string, resolvers?: Resolvers): Promise<TestSubgraph> {
  let schema = build(sdl, resolvers);
  let answer: Answer | undefined;
  let server: Server;
  let port = 0;

  const up = async () => {
    server = createServer(async (request, response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk);
      const body = JSON.parse(Buffer.concat(chunks).toString());
      if (answer) return answer(response, { ...body, headers: request.headers });
      const { query, variables } = body;
      const result = await graphql({
        schema,
        source: query,
        variableValues: variables,
        fieldResolver: (root, _args, _context, info) => root?.[info.fieldName] ?? info.fieldName,
      });
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify(result));
    });
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
    port = (server.address() as AddressInfo).port;
  };
  await up();

  return {
    url: `http://127.0.0.1:${port}/graphql`,
    serve: (newSdl) => {
      schema = build(newSdl);
    },
    answerWith: (newAnswer) => {
      answer = newAnswer;
    },
    down: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
    up,
  };
}

function build(sdl: string, resolvers?: Resolvers): GraphQLSchema {
  return buildSubgraphSchema({ typeDefs: parse(FEDERATION + sdl), ...(resolvers && { resolvers }) });
}

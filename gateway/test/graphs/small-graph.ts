import { composeServices } from '@apollo/composition';
import { Supergraph } from '@apollo/federation-internals';
import { buildSubgraphSchema } from '@apollo/subgraph';
import { execute, parse, validate } from 'graphql';
import type { Planners } from '../../src/planning/index.js';
import { explainPlugin } from '../../src/plugins/explain.js';
import { Graph, type GraphOptions } from '../../src/runtime/graph.js';
import type { OperationRequest } from '../../src/runtime/operation-request.js';
import type { SubgraphRequest, SubgraphResult } from '../../src/subgraph/subgraph-client.js';
import type { Answer } from './federated-case.ts';
import { planners } from './test-planners.ts';

/** With these headers, a result has an explanation. */
export const EXPLAIN = { 'x-explain': 'yes' };

export interface SmallSubgraph {
  readonly sdl: string;
  readonly resolvers?: Record<string, unknown>;
}

const FEDERATION = `extend schema @link(url: "https://specs.apollo.dev/federation/v2.9", import: [
  "@key", "@requires", "@provides", "@external", "@shareable", "@interfaceObject"
])\n`;

/** An engine over real subgraph schemas with resolvers of their own, each of which validates what it is sent. */
export function smallGraph(
  subgraphs: Readonly<Record<string, SmallSubgraph>>,
  options: Partial<GraphOptions> = {},
  plannedBy: Planners = planners,
) {
  const services = Object.entries(subgraphs).map(([name, { sdl }]) => ({
    name,
    url: `http://${name}`,
    typeDefs: parse(FEDERATION + sdl),
  }));
  const { supergraphSdl, errors } = composeServices(services);
  if (!supergraphSdl) throw new Error(errors?.map(({ message }) => message).join('\n'));
  const sent: { subgraph: string; query: string; variables: Record<string, unknown> }[] = [];
  const fetchers = new Map(
    services.map(({ name, typeDefs }) => {
      const schema = buildSubgraphSchema({ typeDefs, resolvers: (subgraphs[name]?.resolvers ?? {}) as never });
      const fetcher = async ({ body }: SubgraphRequest): Promise<SubgraphResult> => {
        const { query, variables } = JSON.parse(body);
        sent.push({ subgraph: name, query, variables });
        const document = parse(query);
        const invalid = validate(schema, document);
        if (invalid.length > 0) return { errors: invalid.map(({ message }) => ({ message })) };
        return JSON.parse(JSON.stringify(await execute({ schema, document, variableValues: variables })));
      };
      return [name, fetcher] as const;
    }),
  );
  const apiSchema = Supergraph.build(supergraphSdl, { supportedFeatures: null }).apiSchema().toGraphQLJSSchema();
  const engine = new Graph({
    supergraphSdl,
    apiSchema,
    planners: plannedBy.of(supergraphSdl),
    fetchers,
    plugins: [explainPlugin(null)],
    ...options,
  });
  return {
    engine,
    /** What subgraphs were sent, in order. */
    sent,
    /** An answer as a client has it. */
    run: async (query: string, request: Partial<OperationRequest> = {}): Promise<Answer> => {
      const result = await engine.run({ query, ...request });
      return JSON.parse('text' in result ? result.text : JSON.stringify(result));
    },
  };
}

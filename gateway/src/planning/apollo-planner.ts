import { operationFromDocument, ROUTER_SUPPORTED_SUPERGRAPH_FEATURES, Supergraph } from '@apollo/federation-internals';
import { QueryPlanner as ApolloQueryPlanner } from '@apollo/query-planner';
import type { DocumentNode, GraphQLSchema } from 'graphql';
import { withEvaluatedConditions } from '../operation/index.js';
import { withConcreteTypes } from './concrete-types.js';
import { isPlannerFault, PlanningLimit } from './planning-limit.js';
import type { PlanNode, QueryPlan } from './query-plan.js';
import type { PlanningOptions, QueryPlanner, QueryPlanners } from './query-planner.js';

/** The most options that the planner compares before it takes the best so far. */
const MAX_EVALUATED_PLANS = 1000;

/**
 * Creates planners of `@apollo/query-planner` for a supergraph.
 *
 * @param apiSchema the schema that clients see
 * @throws Error when the supergraph is not one, or needs a feature that the planner lacks
 */
export function createApolloPlanners(supergraphSdl: string, apiSchema: GraphQLSchema): QueryPlanners {
  const planner = new ApolloPlanner(supergraphSdl, apiSchema);
  const hasProvides = supergraphSdl.includes(' provides: "');
  let authoritative: QueryPlanner | null = null;
  return {
    planner,
    authoritative: () => {
      if (hasProvides) authoritative ??= new ApolloPlanner(withoutProvides(supergraphSdl), apiSchema);
      return authoritative;
    },
  };
}

class ApolloPlanner implements QueryPlanner {
  readonly #supergraph: Supergraph;
  readonly #planner: ApolloQueryPlanner;
  readonly #apiSchema: GraphQLSchema;
  readonly #limit = new PlanningLimit();

  constructor(supergraphSdl: string, apiSchema: GraphQLSchema) {
    this.#apiSchema = apiSchema;
    this.#supergraph = Supergraph.build(supergraphSdl, {
      validateSupergraph: false,
      supportedFeatures: ROUTER_SUPPORTED_SUPERGRAPH_FEATURES,
    });
    this.#planner = new ApolloQueryPlanner(this.#supergraph, {
      reuseQueryFragments: false,
      debug: { maxEvaluatedPlans: MAX_EVALUATED_PLANS, pathsLimit: this.#limit.pathsLimit },
    });
  }

  plan(operation: DocumentNode, { conditions, overrides }: PlanningOptions): QueryPlan {
    return this.#limit.apply(() => {
      const evaluated = withEvaluatedConditions(operation, conditions);
      try {
        return this.#plan(evaluated, overrides);
      } catch (error) {
        if (!isPlannerFault(error)) throw error;
        return this.#plan(withConcreteTypes(evaluated, this.#apiSchema), overrides);
      }
    });
  }

  #plan(operation: DocumentNode, overrides: ReadonlyMap<string, boolean>): QueryPlan {
    const planned = this.#planner.buildQueryPlan(operationFromDocument(this.#supergraph.apiSchema(), operation), {
      overrideConditions: new Map(overrides),
    });
    // Subscriptions are refused before planning. The rest of Apollo's form is ours.
    return { kind: 'QueryPlan', node: planned.node as PlanNode | undefined };
  }
}

function withoutProvides(supergraphSdl: string): string {
  return supergraphSdl.replace(/, provides: "(?:[^"\\]|\\.)*"/g, '');
}

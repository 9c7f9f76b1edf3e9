import { operationFromDocument, ROUTER_SUPPORTED_SUPERGRAPH_FEATURES, Supergraph } from '@apollo/federation-internals';
import { QueryPlanner } from '@apollo/query-planner';
import { type DocumentNode, GraphQLError, type GraphQLSchema, parse } from 'graphql';
import { SupergraphSchema } from '../lib/supergraph-schema.js';
import { withEvaluatedConditions } from '../operation/index.js';
import { checkPlan } from './check-plan.js';
import { checkRequiredArguments } from './check-required-arguments.js';
import { withConcreteTypes } from './concrete-types.js';
import type { LoadedPlanner } from './planner-main.js';
import { PlanningError, type PlanRequest } from './planner-messages.js';
import type { PlanNode, QueryPlan } from './query-plan.js';

/** The most plans that the planner compares before it takes the best so far. */
const MAX_EVALUATED_PLANS = 1000;
/**
 * Different ways to one selection that the planner may follow. Where several subgraphs resolve the fields of an interface, their
 * number multiplies at each level: 45 characters of a query can keep the planner busy for minutes.
 */
const MAX_PATHS = 3000;

const REFUSALS = /^(Too many options generated|Number of (non-local|recursive) selections exceeds)/;

/** The adapter for `@apollo/query-planner`. It runs in a process for planning only, which it blocks meanwhile. */
export class ApolloPlanner implements LoadedPlanner {
  readonly #supergraph: Supergraph;
  readonly #planner: QueryPlanner;
  readonly #apiSchema: GraphQLSchema;
  readonly #joins: SupergraphSchema;

  /** @throws Error when the supergraph is not one, or needs a feature that the planner lacks */
  constructor(supergraphSdl: string) {
    this.#supergraph = Supergraph.build(supergraphSdl, {
      validateSupergraph: false,
      supportedFeatures: ROUTER_SUPPORTED_SUPERGRAPH_FEATURES,
    });
    this.#joins = new SupergraphSchema(supergraphSdl);
    this.#apiSchema = this.#supergraph.apiSchema().toGraphQLJSSchema();
    this.#planner = new QueryPlanner(this.#supergraph, {
      reuseQueryFragments: false,
      debug: { maxEvaluatedPlans: MAX_EVALUATED_PLANS, pathsLimit: MAX_PATHS },
    });
  }

  plan({ document, conditions, overrides }: PlanRequest): QueryPlan {
    const evaluated = withEvaluatedConditions(parse(document, { noLocation: true }), conditions);
    try {
      return this.#plan(evaluated, overrides);
    } catch (error) {
      if (isExpense(error)) throw new PlanningError('expensive', 'There are too many ways to plan it.');
      if (error instanceof GraphQLError) throw new PlanningError('refused', error.message);
      return this.#plan(withConcreteTypes(evaluated, this.#apiSchema), overrides);
    }
  }

  #plan(operation: DocumentNode, overrides: PlanRequest['overrides']): QueryPlan {
    const planned = this.#planner.buildQueryPlan(operationFromDocument(this.#supergraph.apiSchema(), operation), {
      overrideConditions: new Map(Object.entries(overrides)),
    });
    // Subscriptions are refused before planning. The rest of Apollo's form is ours.
    const plan: QueryPlan = { kind: 'QueryPlan', node: planned.node as PlanNode | undefined };
    checkPlan(plan, operation, this.#apiSchema);
    checkRequiredArguments(plan, this.#joins);
    return plan;
  }
}

function isExpense(error: unknown): boolean {
  return error instanceof RangeError || (error instanceof Error && REFUSALS.test(error.message));
}

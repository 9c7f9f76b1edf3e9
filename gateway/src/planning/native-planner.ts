import { QueryPlanner } from '@graphql-hive/router-query-planner';
import {
  type ASTNode,
  buildASTSchema,
  type DocumentNode,
  type FieldNode,
  type GraphQLSchema,
  Kind,
  parse,
  print,
  visit,
} from 'graphql';
import { withEvaluatedConditions } from '../operation/index.js';
import { checkNativePlan } from './check-native-plan.js';
import { checkPlan } from './check-plan.js';
import { withoutLiterals } from './literals.js';
import type { LoadedPlanner } from './planner-main.js';
import { PlanningError, type PlanRequest } from './planner-messages.js';
import type { QueryPlan } from './query-plan.js';
import { readNativePlan } from './read-native-plan.js';

/** The adapter for `@graphql-hive/router-query-planner`, which plans in a thread of its own. It runs in a process for planning only. */
export class NativePlanner implements LoadedPlanner {
  readonly #planner: QueryPlanner;
  readonly #schema: GraphQLSchema;

  /** @throws Error when the planner cannot read the supergraph */
  constructor(supergraphSdl: string) {
    this.#planner = new QueryPlanner(withPlainLabels(supergraphSdl));
    this.#schema = schemaOf(supergraphSdl);
  }

  async plan({ document, conditions, overrides, timeoutMs }: PlanRequest): Promise<QueryPlan> {
    const evaluated = withEvaluatedConditions(parse(document, { noLocation: true }), conditions);
    const fetched = withoutIntrospection(withPlainTypeNames(evaluated));
    if (!fetched) return { kind: 'QueryPlan' };
    const { document: planned, literals } = withoutLiterals(fetched);
    const labels = Object.keys(overrides).filter((label) => overrides[label]);
    const signal = AbortSignal.timeout(timeoutMs);
    try {
      const native = await this.#planner.planAsync(print(planned), null, new Set(labels.map(plainLabel)), 0, signal);
      const plan = readNativePlan(native, this.#schema, literals);
      checkPlan(plan, evaluated, this.#schema);
      checkNativePlan(plan, evaluated, this.#schema);
      return plan;
    } catch (error) {
      if (signal.aborted) throw new PlanningError('expensive', `It took more than ${timeoutMs} ms.`);
      throw error;
    }
  }
}

/**
 * Selects `__typename` without aliases, which the response adds. The planner takes one with an alias from any subgraph, also from one that
 * has an interface object there and does not know the type.
 */
function withPlainTypeNames(document: DocumentNode): DocumentNode {
  return visit(document, {
    Field: (field) => (field.alias && field.name.value === '__typename' ? { ...field, alias: undefined } : undefined),
  });
}

const TYPENAME: FieldNode = { kind: Kind.FIELD, name: { kind: Kind.NAME, value: '__typename' } };

/** Removes `__schema` and `__type`, which the gateway resolves; the planner finds no subgraph for them. @returns null when nothing is left */
function withoutIntrospection(document: DocumentNode): DocumentNode | null {
  let isEmpty = false;
  let isChanged = false;
  const rest: DocumentNode = visit(document, {
    Field: {
      leave(field) {
        if (field.name.value === '__schema' || field.name.value === '__type') {
          isChanged = true;
          return null;
        }
        return undefined;
      },
    },
    SelectionSet: {
      leave(selectionSet, _key, parent) {
        if (!isChanged || selectionSet.selections.length > 0) return undefined;
        if ((parent as ASTNode).kind === Kind.OPERATION_DEFINITION) isEmpty = true;
        return { ...selectionSet, selections: [TYPENAME] };
      },
    },
  });
  return isEmpty ? null : rest;
}

function schemaOf(sdl: string): GraphQLSchema {
  return buildASTSchema(parse(sdl, { noLocation: true }), { assumeValidSDL: true });
}

/** The planner draws labels such as `percent(5)` itself; the gateway draws all labels, so here these are labels like others. */
function withPlainLabels(supergraphSdl: string): string {
  return supergraphSdl.replace(
    /overrideLabel: "(percent\([^"]*\))"/g,
    (_, label) => `overrideLabel: "${plainLabel(label)}"`,
  );
}

function plainLabel(label: string): string {
  return label.replace(/^percent\((.*)\)$/, 'percent_$1');
}

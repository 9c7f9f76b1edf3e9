import { QueryPlanner } from '@graphql-hive/router-query-planner';
import {
  buildASTSchema,
  type DocumentNode,
  type FieldNode,
  type GraphQLSchema,
  Kind,
  parse,
  print,
  type SelectionNode,
  type SelectionSetNode,
  visit,
} from 'graphql';
import { withEvaluatedConditions } from '../operation/index.js';
import { checkNativePlan } from './check-native-plan.js';
import { checkPlan } from './check-plan.js';
import { withoutLiterals } from './literals.js';
import { adaptedLabel, adaptedSupergraph } from './native-supergraph.js';
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
    this.#planner = new QueryPlanner(adaptedSupergraph(supergraphSdl));
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
      const native = await this.#planner.planAsync(print(planned), null, new Set(labels.map(adaptedLabel)), 0, signal);
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

/**
 * Removes `__schema`, `__type` and `__typename` at the root, which the gateway resolves: the planner finds no subgraph, or fetches for nothing. Below a field that leads to
 * the root again they stay, and the planner refuses the operation.
 *
 * @returns null when nothing is left
 */
function withoutIntrospection(document: DocumentNode): DocumentNode | null {
  const definitions = new Map(
    document.definitions.map((each) => ['name' in each ? (each.name?.value ?? '') : '', each]),
  );
  const atRoot = (selections: readonly SelectionNode[]): SelectionNode[] =>
    selections.flatMap((selection): readonly SelectionNode[] => {
      if (selection.kind === Kind.FIELD) return selection.name.value.startsWith('__') ? [] : [selection];
      const fragment = selection.kind === Kind.FRAGMENT_SPREAD ? definitions.get(selection.name.value) : selection;
      if (!fragment || !('selectionSet' in fragment)) return [selection];
      const inner = atRoot(fragment.selectionSet.selections);
      const isWhole = inner.length === fragment.selectionSet.selections.length && inner.every(isOwn(fragment));
      return isWhole ? [selection] : inner;
    });
  const isOwn =
    ({ selectionSet }: { readonly selectionSet: SelectionSetNode }) =>
    (selection: SelectionNode, i: number) =>
      selection === selectionSet.selections[i];
  let isEmpty = false;
  const rest = document.definitions.map((definition) => {
    if (definition.kind !== Kind.OPERATION_DEFINITION || definition.operation !== 'query') return definition;
    const selections = atRoot(definition.selectionSet.selections);
    isEmpty = selections.length === 0;
    return {
      ...definition,
      selectionSet: { ...definition.selectionSet, selections: isEmpty ? [TYPENAME] : selections },
    };
  });
  return isEmpty ? null : { ...document, definitions: rest };
}

function schemaOf(sdl: string): GraphQLSchema {
  return buildASTSchema(parse(sdl, { noLocation: true }), { assumeValidSDL: true });
}

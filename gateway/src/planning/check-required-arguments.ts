import {
  type FieldNode,
  type GraphQLNamedType,
  isInterfaceType,
  isObjectType,
  Kind,
  type OperationDefinitionNode,
  parse,
  print,
  type SelectionSetNode,
} from 'graphql';
import type { SupergraphSchema } from '../lib/supergraph-schema.js';
import type { FetchNode, PlanNode, QueryPlan } from './query-plan.js';

/**
 * Checks a plan for a fault of Apollo's planner: where one fetch resolves several fields that require one field of another subgraph with
 * different arguments, it sends one value for all of them.
 *
 * @throws Error that names the field
 */
export function checkRequiredArguments({ node }: QueryPlan, supergraph: SupergraphSchema): void {
  const check = (each: PlanNode): void => {
    if (each.kind === 'Sequence' || each.kind === 'Parallel') for (const child of each.nodes) check(child);
    else if (each.kind === 'Flatten') check(each.node);
    else if (each.kind === 'Fetch' && each.requires) checkFetch(each, supergraph);
  };
  if (node) check(node);
}

function checkFetch({ operation, serviceName }: FetchNode, supergraph: SupergraphSchema): void {
  const [definition] = parse(operation, { noLocation: true }).definitions as [OperationDefinitionNode];
  for (const entities of definition.selectionSet.selections) {
    if (entities.kind !== Kind.FIELD) continue;
    for (const fragment of entities.selectionSet?.selections ?? []) {
      if (fragment.kind !== Kind.INLINE_FRAGMENT) continue;
      const type = supergraph.schema.getType(fragment.typeCondition?.name.value ?? '');
      const required = new Map<string, string>();
      for (const { name } of fieldsOf(fragment.selectionSet)) {
        const requires = requiredBy(type, name.value, serviceName, supergraph);
        if (requires !== undefined) addRequired(requires, type?.name ?? '', required);
      }
    }
  }
}

function requiredBy(
  type: GraphQLNamedType | undefined,
  field: string,
  subgraph: string,
  supergraph: SupergraphSchema,
): string | undefined {
  if (!isObjectType(type) && !isInterfaceType(type)) return undefined;
  const joins = supergraph.joinsOfField(type.getFields()[field]);
  return joins.find((join) => join.subgraph === subgraph)?.requires;
}

/** Adds the fields of a `@requires`, with their arguments. @throws Error when one is required with other arguments, too */
function addRequired(requires: string, typeName: string, required: Map<string, string>): void {
  const add = (selectionSet: SelectionSetNode, path: string) => {
    for (const { name, arguments: list = [], selectionSet: below } of fieldsOf(selectionSet)) {
      const place = `${path}.${name.value}`;
      const text = list.map(print).sort().join();
      const other = required.get(place);
      if (other !== undefined && other !== text) {
        throw new Error(`The plan would send one value of ${place}, which is required with different arguments.`);
      }
      required.set(place, text);
      if (below) add(below, place);
    }
  };
  const [definition] = parse(`{ ${requires} }`, { noLocation: true }).definitions as [OperationDefinitionNode];
  add(definition.selectionSet, typeName);
}

/** The fields of a selection, also those in fragments. */
function fieldsOf({ selections }: SelectionSetNode): FieldNode[] {
  return selections.flatMap((selection) => {
    if (selection.kind === Kind.FIELD) return [selection];
    return selection.kind === Kind.INLINE_FRAGMENT ? fieldsOf(selection.selectionSet) : [];
  });
}

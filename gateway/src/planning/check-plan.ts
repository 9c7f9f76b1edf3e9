import {
  type DocumentNode,
  type GraphQLNamedType,
  type GraphQLSchema,
  getNamedType,
  isInterfaceType,
  isObjectType,
  Kind,
  type OperationDefinitionNode,
  parse,
  type SelectionSetNode,
} from 'graphql';
import { fragmentsOf } from '../operation/index.js';
import type { FetchNode, PlanNode, PlanPath, QueryPlan, RequiredSelection } from './query-plan.js';

/**
 * Checks that a plan fetches what the operation selects, and before each entity fetch what that requires. Otherwise fields would be null
 * without an error. Types are not compared: of a field that several types have, one is enough.
 *
 * @param document the operation of the plan, without conditions
 * @param schema the types of the supergraph, or those that clients see
 * @throws Error that names a missing field
 */
export function checkPlan({ node }: QueryPlan, document: DocumentNode, schema: GraphQLSchema): void {
  const fetched = new Set<string>();
  const run = (each: PlanNode, path: PlanPath): void => {
    if (each.kind === 'Sequence' || each.kind === 'Parallel') for (const child of each.nodes) run(child, path);
    else if (each.kind === 'Flatten') run(each.node, [...path, ...each.path]);
    else if (each.kind === 'Fetch') runFetch(each, fieldNames(path), fetched);
  };
  if (node) run(node, []);
  checkSelected(document, schema, fetched);
}

/** The place of a field in the response: the names on its path. */
const placeOf = (names: readonly string[]) => names.join('.');

function fieldNames(path: PlanPath): string[] {
  return path.map(String).filter((segment) => segment !== '@' && !segment.startsWith('|['));
}

function runFetch(fetch: FetchNode, at: readonly string[], fetched: Set<string>): void {
  const { requires, outputRewrites = [], serviceName } = fetch;
  if (requires && !requires.some((each) => isFetched(each, at, fetched))) {
    throw new Error(`The plan lacks what a fetch from ${serviceName} requires at "${placeOf(at)}".`);
  }
  const renamed = new Map<string, string>();
  for (const rewrite of outputRewrites) {
    if (rewrite.kind !== 'KeyRenamer') continue;
    const names = rewrite.path.filter((segment) => !segment.startsWith('... on '));
    renamed.set(placeOf([...at, ...names]), rewrite.renameKeyTo);
  }
  const add = ({ selections }: SelectionSetNode, path: readonly string[]): void => {
    for (const selection of selections) {
      if (selection.kind !== Kind.FIELD) {
        if (selection.kind === Kind.INLINE_FRAGMENT) add(selection.selectionSet, path);
        continue;
      }
      const { alias, name, selectionSet } = selection;
      const own = [...path, (alias ?? name).value];
      const place = [...path, renamed.get(placeOf(own)) ?? (own.at(-1) as string)];
      fetched.add(placeOf(place));
      if (selectionSet) add(selectionSet, place);
    }
  };
  const [operation] = parse(fetch.operation, { noLocation: true }).definitions as [OperationDefinitionNode];
  for (const each of requires ? operation.selectionSet.selections : []) {
    if (each.kind === Kind.FIELD && each.selectionSet) add(each.selectionSet, at);
  }
  if (!requires) add(operation.selectionSet, at);
}

function isFetched(required: RequiredSelection, at: readonly string[], fetched: ReadonlySet<string>): boolean {
  if (required.kind === 'InlineFragment') return required.selections.every((each) => isFetched(each, at, fetched));
  if (required.name === '__typename') return true;
  const place = [...at, required.alias ?? required.name];
  if (!fetched.has(placeOf(place))) return false;
  // Of the types below, a subgraph may lack some.
  const below = required.selections?.filter((each) => each.kind === 'Field') ?? [];
  return below.every((each) => isFetched(each, place, fetched));
}

/** Checks the fields that are selected for all types of an object: some types may have no values in any subgraph. */
function checkSelected(document: DocumentNode, schema: GraphQLSchema, fetched: ReadonlySet<string>): void {
  const fragments = fragmentsOf(document);
  const check = ({ selections }: SelectionSetNode, parent: GraphQLNamedType, at: readonly string[]): void => {
    for (const selection of selections) {
      if (selection.kind !== Kind.FIELD) {
        const fragment = selection.kind === Kind.FRAGMENT_SPREAD ? fragments[selection.name.value] : selection;
        const condition = fragment?.typeCondition?.name.value ?? parent.name;
        if (fragment && condition === parent.name) check(fragment.selectionSet, parent, at);
        continue;
      }
      const { alias, name, selectionSet } = selection;
      if (name.value.startsWith('__')) continue;
      const place = [...at, (alias ?? name).value];
      if (!fetched.has(placeOf(place))) throw new Error(`The plan does not fetch ${parent.name}.${name.value}.`);
      const field = isObjectType(parent) || isInterfaceType(parent) ? parent.getFields()[name.value] : undefined;
      if (selectionSet && field) check(selectionSet, getNamedType(field.type), place);
    }
  };
  const operation = document.definitions.find(
    (each): each is OperationDefinitionNode => each.kind === Kind.OPERATION_DEFINITION,
  );
  const root = operation && schema.getRootType(operation.operation);
  if (operation && root) check(operation.selectionSet, root, []);
}

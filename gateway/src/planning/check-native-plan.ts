import {
  type DocumentNode,
  type FieldNode,
  type GraphQLNamedType,
  type GraphQLSchema,
  getNamedType,
  isAbstractType,
  isInterfaceType,
  isObjectType,
  Kind,
  type OperationDefinitionNode,
  parse,
  type SelectionSetNode,
} from 'graphql';
import { fragmentsOf } from '../operation/index.js';
import type { FetchNode, PlanNode, PlanPath, QueryPlan } from './query-plan.js';

/**
 * Checks a plan for a fault of the native planner: it merges fetches of an interface object for several types into one, and sends that one
 * only the entities of the last type.
 *
 * @param document the operation of the plan
 * @param schema the types of the supergraph
 * @throws Error when the plan lacks entities that the operation selects
 */
export function checkNativePlan({ node }: QueryPlan, document: DocumentNode, schema: GraphQLSchema): void {
  const check = (each: PlanNode, path: PlanPath): void => {
    if (each.kind === 'Sequence' || each.kind === 'Parallel') for (const child of each.nodes) check(child, path);
    else if (each.kind === 'Flatten') check(each.node, [...path, ...each.path]);
    else if (each.kind === 'Fetch') checkFetch(each, path, document, schema);
  };
  if (node) check(node, []);
}

function checkFetch(fetch: FetchNode, path: PlanPath, document: DocumentNode, schema: GraphQLSchema): void {
  const type = interfaceObjectOf(fetch, schema);
  if (!type) return;
  const sent = new Set(fetch.requires?.flatMap((each) => (each.kind === 'InlineFragment' ? each.typeCondition : [])));
  if (sent.has(type.name)) return;
  const fetched = namesOfEntityFields(fetch);
  visitFieldsAt(document, path, schema, ({ name }, parent) => {
    if (!fetched.has(name.value)) return;
    const selected = isAbstractType(parent) ? schema.getPossibleTypes(parent) : [parent];
    for (const each of selected) {
      if (!isObjectType(each) || !schema.isSubType(type, each) || sent.has(each.name)) continue;
      throw new Error(
        `The plan fetches ${type.name}.${name.value} from ${fetch.serviceName}, but not for ${each.name}.`,
      );
    }
  });
}

/** The interface as which a fetch sends its entities; null when it sends them as what they are. */
function interfaceObjectOf({ inputRewrites = [] }: FetchNode, schema: GraphQLSchema) {
  for (const rewrite of inputRewrites) {
    if (rewrite.kind !== 'ValueSetter' || rewrite.path.at(-1) !== '__typename') continue;
    const type = schema.getType(String(rewrite.setValueTo));
    if (isInterfaceType(type)) return type;
  }
  return null;
}

function namesOfEntityFields({ operation }: FetchNode): ReadonlySet<string> {
  const names = new Set<string>();
  const collect = ({ selections }: SelectionSetNode) => {
    for (const selection of selections) {
      if (selection.kind === Kind.INLINE_FRAGMENT) collect(selection.selectionSet);
      else if (selection.name.value !== '__typename') names.add(selection.name.value);
    }
  };
  const [definition] = parse(operation, { noLocation: true }).definitions as [OperationDefinitionNode];
  for (const each of definition.selectionSet.selections) {
    if (each.kind === Kind.FIELD && each.selectionSet) collect(each.selectionSet);
  }
  return names;
}

type VisitField = (field: FieldNode, parent: GraphQLNamedType) => void;

/** Visits the fields that an operation selects at a path, each with the narrowest type that it is selected for. */
function visitFieldsAt(document: DocumentNode, path: PlanPath, schema: GraphQLSchema, visit: VisitField): void {
  const fragments = fragmentsOf(document);
  const operation = document.definitions.find(
    (each): each is OperationDefinitionNode => each.kind === Kind.OPERATION_DEFINITION,
  );
  const visitFields = ({ selections }: SelectionSetNode, parent: GraphQLNamedType, visitField: VisitField): void => {
    for (const selection of selections) {
      if (selection.kind === Kind.FIELD) {
        visitField(selection, parent);
        continue;
      }
      const fragment = selection.kind === Kind.FRAGMENT_SPREAD ? fragments[selection.name.value] : selection;
      const condition = fragment?.typeCondition && schema.getType(fragment.typeCondition.name.value);
      if (fragment)
        visitFields(fragment.selectionSet, isObjectType(parent) ? parent : (condition ?? parent), visitField);
    }
  };
  const names = path.filter((segment) => segment !== '@' && !String(segment).startsWith('|['));
  const descend = (selectionSet: SelectionSetNode, parent: GraphQLNamedType, depth: number): void => {
    visitFields(selectionSet, parent, (field, type) => {
      if (depth === names.length) {
        visit(field, type);
        return;
      }
      if ((field.alias ?? field.name).value !== names[depth] || !field.selectionSet) return;
      const definition = isObjectType(type) || isInterfaceType(type) ? type.getFields()[field.name.value] : undefined;
      if (definition) descend(field.selectionSet, getNamedType(definition.type), depth + 1);
    });
  };
  const root = operation && schema.getRootType(operation.operation);
  if (operation && root) descend(operation.selectionSet, root, 0);
}

import {
  type FieldNode,
  type FragmentDefinitionNode,
  type GraphQLCompositeType,
  GraphQLError,
  GraphQLIncludeDirective,
  type GraphQLInterfaceType,
  type GraphQLNamedType,
  type GraphQLObjectType,
  type GraphQLOutputType,
  type GraphQLSchema,
  GraphQLSkipDirective,
  getDirectiveValues,
  isAbstractType,
  isInterfaceType,
  isObjectType,
  isUnionType,
  type SelectionSetNode,
} from 'graphql';
import type { JsonObject } from '../lib/json.js';

/** What an answer is made from besides the operation. */
export interface ShapeParts {
  readonly schema: GraphQLSchema;
  readonly fragments: Readonly<Record<string, FragmentDefinitionNode>>;
  /** Only those of @skip and @include matter here. */
  readonly variables: Readonly<Record<string, unknown>>;
  /** What the client calls the fields that are asked for under other names. */
  readonly responseNames: ReadonlyMap<string, string | null>;
  /** The answers to `__schema` and `__type`, by response name. */
  readonly introspection: JsonObject | null;
}

/** A field of an answer. */
export interface SelectedField {
  readonly responseName: string;
  /** What it is called in what the subgraphs give. */
  readonly from: string;
  readonly name: string;
  /** Null for `__typename`, `__schema` and `__type`. */
  readonly type: GraphQLOutputType | null;
  readonly selectionSets: readonly SelectionSetNode[];
  /** Where it is selected. */
  readonly nodes: readonly FieldNode[];
}

/**
 * Whether an object of a type may stand where another type is declared. A subgraph that knows only the interface of an object (an
 * `@interfaceObject`) gives its name; the other way round, an interface of the declared type.
 */
export function fits(schema: GraphQLSchema, declared: GraphQLCompositeType, runtime: GraphQLNamedType): boolean {
  if (runtime === declared) return true;
  if (isObjectType(runtime) || isInterfaceType(runtime)) {
    if (isAbstractType(declared) && schema.isSubType(declared, runtime)) return true;
  }
  return isInterfaceType(runtime) && !isUnionType(declared) && schema.isSubType(runtime, declared);
}

/** The fields that are selected of a type, for the values that @skip and @include have. */
export function selectedFields(
  type: GraphQLObjectType | GraphQLInterfaceType,
  selectionSets: readonly SelectionSetNode[],
  parts: ShapeParts,
): SelectedField[] {
  const grouped = new Map<string, FieldNode[]>();
  for (const selectionSet of selectionSets) collectFields(type, selectionSet, parts, grouped);
  return [...grouped].map(([from, nodes]) => {
    const name = nodes[0]?.name.value ?? '';
    return {
      responseName: parts.responseNames.get(from) ?? from,
      from,
      name,
      type: name.startsWith('__') ? null : typeOf(type, name),
      selectionSets: nodes.flatMap(({ selectionSet }) => (selectionSet ? [selectionSet] : [])),
      nodes,
    };
  });
}

/** Whether a type is a root of the schema, which is reached again where a field has that type. */
export function isRootType(type: GraphQLCompositeType, schema: GraphQLSchema): boolean {
  return type === schema.getQueryType() || type === schema.getMutationType();
}

function typeOf(type: GraphQLObjectType | GraphQLInterfaceType, name: string): GraphQLOutputType {
  const field = type.getFields()[name];
  if (!field) throw new GraphQLError(`Type ${type.name} has no field "${name}".`);
  return field.type;
}

function collectFields(
  type: GraphQLObjectType | GraphQLInterfaceType,
  selectionSet: SelectionSetNode,
  parts: ShapeParts,
  into: Map<string, FieldNode[]>,
): void {
  for (const selection of selectionSet.selections) {
    const skip = getDirectiveValues(GraphQLSkipDirective, selection, parts.variables);
    const include = getDirectiveValues(GraphQLIncludeDirective, selection, parts.variables);
    if (skip?.if === true || include?.if === false) continue;
    if (selection.kind === 'Field') {
      const responseName = selection.alias?.value ?? selection.name.value;
      into.set(responseName, [...(into.get(responseName) ?? []), selection]);
      continue;
    }
    const fragment = selection.kind === 'FragmentSpread' ? parts.fragments[selection.name.value] : selection;
    const condition = fragment?.typeCondition?.name.value;
    if (fragment && (condition === undefined || applies(parts.schema, condition, type))) {
      collectFields(type, fragment.selectionSet, parts, into);
    }
  }
}

function applies(schema: GraphQLSchema, condition: string, type: GraphQLObjectType | GraphQLInterfaceType): boolean {
  const wanted = schema.getType(condition);
  return wanted === type || (isAbstractType(wanted) && schema.isSubType(wanted, type));
}

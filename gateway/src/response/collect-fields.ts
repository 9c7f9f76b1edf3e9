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

/** The inputs besides the operation from which the completion of its response is compiled. */
export interface CompletionInputs {
  readonly schema: GraphQLSchema;
  readonly fragments: Readonly<Record<string, FragmentDefinitionNode>>;
  /** By normalized name; only the variables of `@skip` and `@include` are read. */
  readonly variables: Readonly<Record<string, unknown>>;
  /** The client's response names of renamed fields. */
  readonly responseNames: ReadonlyMap<string, string | null>;
  /** The results of `__schema` and `__type`, by response name. */
  readonly introspection: JsonObject | null;
}

/** A field of the response. */
export interface CollectedField {
  readonly responseName: string;
  /** Its key in the data, which has the plan's response names. */
  readonly dataKey: string;
  readonly name: string;
  /** Null for `__typename`, `__schema` and `__type`. */
  readonly type: GraphQLOutputType | null;
  readonly selectionSets: readonly SelectionSetNode[];
  /** The selections that are merged to this field. */
  readonly nodes: readonly FieldNode[];
}

/**
 * Whether an object of a type is allowed where another type is declared. A subgraph that defines an object by its interface only (an
 * `@interfaceObject`) returns the interface's name, so an interface of the declared type is allowed, too.
 */
export function isAllowedType(
  schema: GraphQLSchema,
  declared: GraphQLCompositeType,
  runtime: GraphQLNamedType,
): boolean {
  if (runtime === declared) return true;
  if (isObjectType(runtime) || isInterfaceType(runtime)) {
    if (isAbstractType(declared) && schema.isSubType(declared, runtime)) return true;
  }
  return isInterfaceType(runtime) && !isUnionType(declared) && schema.isSubType(runtime, declared);
}

/** Collects the fields that selection sets select of a type, with `@skip` and `@include` evaluated. */
export function collectFields(
  type: GraphQLObjectType | GraphQLInterfaceType,
  selectionSets: readonly SelectionSetNode[],
  inputs: CompletionInputs,
): CollectedField[] {
  const grouped = new Map<string, FieldNode[]>();
  for (const selectionSet of selectionSets) collectInto(grouped, type, selectionSet, inputs);
  return [...grouped].map(([dataKey, nodes]) => {
    const name = nodes[0]?.name.value ?? '';
    return {
      responseName: inputs.responseNames.get(dataKey) ?? dataKey,
      dataKey,
      name,
      type: name.startsWith('__') ? null : typeOf(type, name),
      selectionSets: nodes.flatMap(({ selectionSet }) => (selectionSet ? [selectionSet] : [])),
      nodes,
    };
  });
}

/** Whether a type is the query or mutation type, which fields may have as their type, too. */
export function isRootType(type: GraphQLCompositeType, schema: GraphQLSchema): boolean {
  return type === schema.getQueryType() || type === schema.getMutationType();
}

function typeOf(type: GraphQLObjectType | GraphQLInterfaceType, name: string): GraphQLOutputType {
  const field = type.getFields()[name];
  if (!field) throw new GraphQLError(`Type ${type.name} has no field "${name}".`);
  return field.type;
}

function collectInto(
  grouped: Map<string, FieldNode[]>,
  type: GraphQLObjectType | GraphQLInterfaceType,
  selectionSet: SelectionSetNode,
  inputs: CompletionInputs,
): void {
  for (const selection of selectionSet.selections) {
    const skip = getDirectiveValues(GraphQLSkipDirective, selection, inputs.variables);
    const include = getDirectiveValues(GraphQLIncludeDirective, selection, inputs.variables);
    if (skip?.if === true || include?.if === false) continue;
    if (selection.kind === 'Field') {
      const responseName = selection.alias?.value ?? selection.name.value;
      grouped.set(responseName, [...(grouped.get(responseName) ?? []), selection]);
      continue;
    }
    const fragment = selection.kind === 'FragmentSpread' ? inputs.fragments[selection.name.value] : selection;
    const condition = fragment?.typeCondition?.name.value;
    if (fragment && (condition === undefined || applies(inputs.schema, condition, type))) {
      collectInto(grouped, type, fragment.selectionSet, inputs);
    }
  }
}

function applies(schema: GraphQLSchema, condition: string, type: GraphQLObjectType | GraphQLInterfaceType): boolean {
  const conditionType = schema.getType(condition);
  return conditionType === type || (isAbstractType(conditionType) && schema.isSubType(conditionType, type));
}

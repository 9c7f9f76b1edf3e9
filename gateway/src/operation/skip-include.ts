import {
  type DirectiveNode,
  type DocumentNode,
  type FieldNode,
  Kind,
  type SelectionNode,
  type SelectionSetNode,
  type ValueNode,
  visit,
} from 'graphql';

const TYPENAME: FieldNode = { kind: Kind.FIELD, name: { kind: Kind.NAME, value: '__typename' } };

/** Returns the sorted names of the variables in `@skip` and `@include`. */
export function conditionVariables(document: DocumentNode): string[] {
  const names = new Set<string>();
  visit(document, {
    Directive(directive) {
      const condition = conditionOf(directive);
      if (condition?.kind === Kind.VARIABLE) names.add(condition.name.value);
    },
  });
  return [...names].sort();
}

/** The values of the variables in `@skip` and `@include`, for one request. */
export type ConditionValues = Readonly<Record<string, boolean>>;

/**
 * Creates the document that is planned: with `@skip` and `@include` evaluated for these values, and without `@defer` and `@maxStaleness`.
 * (Apollo's planner handles conditions, but selects too little where sibling fields have different ones.) An empty selection set becomes
 * `__typename`, so that the object itself is still fetched.
 */
export function withEvaluatedConditions(document: DocumentNode, values: ConditionValues): DocumentNode {
  return visit(document, {
    // An instruction to the gateway, which subgraphs do not have.
    Directive: ({ name }) => (name.value === 'maxStaleness' ? null : undefined),
    SelectionSet: { leave: (selectionSet) => evaluate(selectionSet, values) },
  });
}

function evaluate(selectionSet: SelectionSetNode, values: ConditionValues): SelectionSetNode {
  const selections = selectionSet.selections.flatMap((selection): SelectionNode[] => {
    const directives: DirectiveNode[] = [];
    for (const directive of selection.directives ?? []) {
      const condition = conditionOf(directive);
      // A deferred fragment is delivered with the rest.
      if (directive.name.value === 'defer') continue;
      if (!condition) directives.push(directive);
      else if (isTrue(condition, values) === (directive.name.value === 'skip')) return [];
    }
    return [{ ...selection, directives } as SelectionNode];
  });
  return { ...selectionSet, selections: selections.length > 0 ? selections : [TYPENAME] };
}

function isTrue(condition: ValueNode, values: ConditionValues): boolean {
  return condition.kind === Kind.VARIABLE
    ? values[condition.name.value] === true
    : condition.kind === Kind.BOOLEAN && condition.value;
}

function conditionOf({ name, arguments: args }: DirectiveNode): ValueNode | undefined {
  return name.value === 'skip' || name.value === 'include' ? args?.[0]?.value : undefined;
}

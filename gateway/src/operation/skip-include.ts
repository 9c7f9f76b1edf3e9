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

/** The variables of @skip and @include: they decide what is in the answer. */
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

/** What the variables of conditions are in a request. */
export type ConditionValues = Readonly<Record<string, boolean>>;

/**
 * The document as it is planned: without conditions, for a request in which their variables have these values. (The planner
 * knows conditions, but asks for too little where fields beside each other are included under different ones.) Where nothing is
 * left to be asked of an object, its type is, so that the object itself is.
 */
export function withSettledConditions(document: DocumentNode, values: ConditionValues): DocumentNode {
  return visit(document, {
    // What is said to the gateway is not for subgraphs.
    Directive: ({ name }) => (name.value === 'maxStaleness' ? null : undefined),
    SelectionSet: { leave: (selectionSet) => settle(selectionSet, values) },
  });
}

function settle(selectionSet: SelectionSetNode, values: ConditionValues): SelectionSetNode {
  const selections = selectionSet.selections.flatMap((selection): SelectionNode[] => {
    const directives: DirectiveNode[] = [];
    for (const directive of selection.directives ?? []) {
      const condition = conditionOf(directive);
      // What could come later comes with the rest.
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

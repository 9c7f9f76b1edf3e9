import { type DocumentNode, type FragmentDefinitionNode, Kind, type SelectionSetNode } from 'graphql';

/** Counts the fields of a document's operations, each fragment wherever it is spread, in time linear in the document's length. */
export function countFields({ definitions }: DocumentNode): number {
  const fragments = new Map<string, FragmentDefinitionNode>();
  for (const definition of definitions) {
    if (definition.kind === Kind.FRAGMENT_DEFINITION) fragments.set(definition.name.value, definition);
  }
  const counts = new Map<string, number>();
  const fragmentCount = (name: string): number => {
    const counted = counts.get(name);
    if (counted !== undefined) return counted;
    // A fragment that spreads itself, which validation refuses, counts as nothing meanwhile.
    counts.set(name, 0);
    const fragment = fragments.get(name);
    const count = fragment ? countSelections(fragment.selectionSet) : 0;
    counts.set(name, count);
    return count;
  };
  const countSelections = ({ selections }: SelectionSetNode): number =>
    selections.reduce((sum, selection) => {
      if (selection.kind === Kind.FRAGMENT_SPREAD) return sum + fragmentCount(selection.name.value);
      const below = selection.selectionSet ? countSelections(selection.selectionSet) : 0;
      return sum + below + (selection.kind === Kind.FIELD ? 1 : 0);
    }, 0);
  return definitions.reduce(
    (sum, definition) =>
      definition.kind === Kind.OPERATION_DEFINITION ? sum + countSelections(definition.selectionSet) : sum,
    0,
  );
}

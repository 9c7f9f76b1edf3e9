import {
  type DocumentNode,
  Kind,
  type OperationDefinitionNode,
  print,
  stripIgnoredCharacters,
  type VariableDefinitionNode,
  visit,
} from 'graphql';
import { definitionOf, identified, type SubgraphOperation, withoutName } from './subgraph-operation.js';

/** Several entity operations merged into one. */
export interface MergedOperation extends SubgraphOperation {
  /** For each of them: the names that its own variables have in the merged operation. */
  readonly variableNames: readonly ReadonlyMap<string, string>[];
}

/**
 * Merges entity operations for one subgraph into one: the result of the `i`th has the response name `_i`. Each has its own variables for
 * its representations (`representations_i`) and for arguments from a context; the client's variables are the same for all.
 */
export function mergeOperations(operations: readonly SubgraphOperation[]): MergedOperation {
  const usages = [...new Set(operations.flatMap((operation) => operation.usages))];
  const taken = new Set(usages);
  const variableNames = operations.map(
    ({ contextual }, i) =>
      new Map(
        ['representations', ...contextual].map((own) => {
          let name = `${own}_${i}`;
          while (taken.has(name)) name += '_';
          taken.add(name);
          return [own, name];
        }),
      ),
  );
  const definitions = operations.map(({ text }, i) => numbered(text, i, variableNames[i] as Map<string, string>));
  const variables = new Map<string, VariableDefinitionNode>();
  for (const { variableDefinitions = [] } of definitions) {
    for (const definition of variableDefinitions) variables.set(definition.variable.name.value, definition);
  }
  const document: DocumentNode = {
    kind: Kind.DOCUMENT,
    definitions: [
      {
        ...(definitions[0] as OperationDefinitionNode),
        variableDefinitions: [...variables.values()],
        selectionSet: {
          kind: Kind.SELECTION_SET,
          selections: definitions.flatMap(({ selectionSet }) => selectionSet.selections),
        },
      },
    ],
  };
  const [{ subgraph }] = operations as [SubgraphOperation];
  return {
    ...identified(subgraph, withoutName(stripIgnoredCharacters(print(document)))),
    usages,
    contextual: [],
    repeatable: true,
    cache: null,
    variableNames,
  };
}

function numbered(text: string, i: number, variableNames: ReadonlyMap<string, string>): OperationDefinitionNode {
  return visit(definitionOf(text), {
    Variable: (variable) => {
      const name = variableNames.get(variable.name.value);
      return name === undefined ? undefined : { ...variable, name: { ...variable.name, value: name } };
    },
    Field: (field) =>
      field.name.value === '_entities' ? { ...field, alias: { kind: Kind.NAME as const, value: `_${i}` } } : undefined,
  });
}

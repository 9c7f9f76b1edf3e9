import { Kind, parse } from 'graphql';
import type { SupergraphSchema } from '../lib/supergraph-schema.js';

/** The keys (`@key`) by which each subgraph finds entities. */
export class EntityKeys {
  /** By subgraph and type: the names of the outermost fields of each key. */
  readonly #keys = new Map<string, string[][]>();

  constructor(supergraph: SupergraphSchema) {
    for (const type of supergraph.compositeTypes()) {
      for (const { subgraph, key } of supergraph.joinsOfType(type)) {
        if (key === undefined) continue;
        const owner = `${subgraph} ${type.name}`;
        this.#keys.set(owner, [...(this.#keys.get(owner) ?? []), outermostFields(key)]);
      }
    }
  }

  /** Whether fields include a key by which a subgraph finds entities of a type. */
  hasKey(subgraph: string, typeName: string, hasField: (field: string) => boolean): boolean {
    return this.#keys.get(`${subgraph} ${typeName}`)?.some((fields) => fields.every(hasField)) ?? false;
  }
}

function outermostFields(key: string): string[] {
  const [definition] = parse(`{ ${key} }`, { noLocation: true }).definitions;
  if (definition?.kind !== Kind.OPERATION_DEFINITION) return [];
  return definition.selectionSet.selections.flatMap((selection) =>
    selection.kind === Kind.FIELD ? [selection.name.value] : [],
  );
}

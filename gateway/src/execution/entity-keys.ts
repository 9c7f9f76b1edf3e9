import { Kind, parse } from 'graphql';
import type { SupergraphSchema } from '../lib/supergraph-schema.js';

/** The keys (`@key`) by which each subgraph finds its entities. */
export class EntityKeys {
  /** By subgraph and type: of each key, the names of its outermost fields. */
  readonly #keys = new Map<string, string[][]>();

  constructor(supergraph: SupergraphSchema) {
    for (const type of supergraph.compositeTypes()) {
      for (const { subgraph, key } of supergraph.joinsOfType(type)) {
        if (key === undefined) continue;
        const place = `${subgraph} ${type.name}`;
        this.#keys.set(place, [...(this.#keys.get(place) ?? []), outermostFields(key)]);
      }
    }
  }

  /** Whether the fields that are there hold a key by which a subgraph finds entities of a type. */
  isComplete(subgraph: string, typeName: string, isThere: (field: string) => boolean): boolean {
    return this.#keys.get(`${subgraph} ${typeName}`)?.some((fields) => fields.every(isThere)) ?? false;
  }
}

function outermostFields(key: string): string[] {
  const [definition] = parse(`{ ${key} }`, { noLocation: true }).definitions;
  if (definition?.kind !== Kind.OPERATION_DEFINITION) return [];
  return definition.selectionSet.selections.flatMap((selection) =>
    selection.kind === Kind.FIELD ? [selection.name.value] : [],
  );
}

import type { EnumType, Supergraph } from '@apollo/federation-internals';
import { Kind, parse } from 'graphql';

/** The keys (`@key`) by which each subgraph finds its entities. */
export class EntityKeys {
  /** By subgraph and type: of each key, the names of its outermost fields. */
  readonly #keys = new Map<string, string[][]>();

  constructor({ schema }: Pick<Supergraph, 'schema'>) {
    const graphs = schema.type('join__Graph') as EnumType | undefined;
    const names = new Map(
      graphs?.values.map((value) => {
        const [application] = value.appliedDirectivesOf('join__graph');
        return [value.name, (application?.arguments() as { name?: string })?.name ?? ''];
      }),
    );
    for (const type of schema.types()) {
      for (const application of type.appliedDirectivesOf('join__type')) {
        const { graph = '', key } = application.arguments() as { graph?: string; key?: string };
        if (key === undefined) continue;
        const place = `${names.get(graph)} ${type.name}`;
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

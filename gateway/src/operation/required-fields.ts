import type { Supergraph } from '@apollo/federation-internals';
import { type DocumentNode, parse, visit } from 'graphql';

/** The fields that subgraphs require (`@requires`) or take from a context (`@fromContext`) and that are declared with arguments. */
export interface RequiredFields {
  /** Their names. */
  readonly names: ReadonlySet<string>;
  /** The names of those that are required with arguments given, so that the field without arguments is another one. */
  readonly given: ReadonlySet<string>;
}

/** Reads from the supergraph which fields with arguments subgraphs require. */
export function requiredFields({ schema }: Pick<Supergraph, 'schema'>): RequiredFields {
  const declared = new Set<string>();
  for (const type of schema.types()) {
    if (type.kind !== 'ObjectType' && type.kind !== 'InterfaceType') continue;
    for (const field of type.fields()) if (field.arguments().length > 0) declared.add(field.name);
  }
  const names = new Set<string>();
  const given = new Set<string>();
  for (const application of schema.directive('join__field')?.applications() ?? []) {
    for (const selection of selectionsOf(application.arguments() as JoinField)) {
      visit(selection, {
        Field(field) {
          if (declared.has(field.name.value)) names.add(field.name.value);
          if (field.arguments?.length) given.add(field.name.value);
        },
      });
    }
  }
  return { names, given };
}

interface JoinField {
  readonly requires?: string;
  readonly contextArguments?: readonly { readonly selection: string }[];
}

function selectionsOf({ requires, contextArguments = [] }: JoinField): DocumentNode[] {
  const texts = contextArguments.map(({ selection }) => selection);
  if (requires) texts.push(`{ ${requires} }`);
  return texts.map((text) => parse(text, { noLocation: true }));
}

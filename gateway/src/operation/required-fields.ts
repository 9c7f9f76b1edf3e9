import { type DocumentNode, parse, visit } from 'graphql';
import type { JoinField, SupergraphSchema } from '../lib/supergraph-schema.js';

/** The fields that subgraphs require (`@requires`) or take from a context (`@fromContext`) and that are declared with arguments. */
export interface RequiredFields {
  readonly names: ReadonlySet<string>;
  /** The names of those that are selected with arguments there: the same field without arguments differs from them. */
  readonly withArguments: ReadonlySet<string>;
}

/** Reads the fields with arguments that subgraphs require from a supergraph. */
export function requiredFields(supergraph: SupergraphSchema): RequiredFields {
  const fields = [...supergraph.compositeTypes()].flatMap((type) => Object.values(type.getFields()));
  const declared = new Set(fields.filter(({ args }) => args.length > 0).map(({ name }) => name));
  const names = new Set<string>();
  const withArguments = new Set<string>();
  const joins = fields.flatMap((field) => supergraph.joinsOfField(field));
  for (const selection of joins.flatMap(selectionsOf)) {
    visit(selection, {
      Field(field) {
        if (declared.has(field.name.value)) names.add(field.name.value);
        if (field.arguments?.length) withArguments.add(field.name.value);
      },
    });
  }
  return { names, withArguments };
}

function selectionsOf({ requires, contextArguments = [] }: JoinField): DocumentNode[] {
  const texts = contextArguments.map(({ selection }) => selection);
  if (requires) texts.push(`{ ${requires} }`);
  return texts.map((text) => parse(text, { noLocation: true }));
}

import {
  buildASTSchema,
  type ConstDirectiveNode,
  type EnumTypeDefinitionNode,
  type GraphQLField,
  type GraphQLNamedType,
  type GraphQLSchema,
  isInterfaceType,
  isObjectType,
  Kind,
  parse,
  valueFromASTUntyped,
} from 'graphql';

/** What `@join__type` says of a type in one subgraph. */
export interface JoinType {
  /** The subgraph's name. */
  readonly subgraph: string;
  readonly key?: string | undefined;
}

/** What `@join__field` says of a field in one subgraph. */
export interface JoinField {
  /** The subgraph's name; undefined when no subgraph resolves the field. */
  readonly subgraph: string | undefined;
  readonly requires?: string | undefined;
  readonly provides?: string | undefined;
  readonly external?: boolean | undefined;
  /** The subgraph's field is overridden by another one's, and stays only for keys and requirements. */
  readonly usedOverridden?: boolean | undefined;
  readonly overrideLabel?: string | undefined;
  readonly contextArguments?: readonly { readonly selection: string }[] | undefined;
}

/** Nodes of a schema that directives are applied to. */
type Annotated = { readonly astNode?: { readonly directives?: readonly ConstDirectiveNode[] } | null } | undefined;

/** A supergraph as its SDL says it: the schema, and the `join` directives that say which subgraph has what. */
export class SupergraphSchema {
  /** All types and fields, also those that clients do not see. */
  readonly schema: GraphQLSchema;
  /** The subgraphs' names, by their value of the enum `join__Graph`. */
  readonly #names: ReadonlyMap<string, string>;

  /** @throws GraphQLError when the text is not SDL */
  constructor(supergraphSdl: string) {
    const document = parse(supergraphSdl, { noLocation: true });
    this.schema = buildASTSchema(document, { assumeValid: true, assumeValidSDL: true });
    const graphs = document.definitions.find(
      (definition): definition is EnumTypeDefinitionNode =>
        definition.kind === Kind.ENUM_TYPE_DEFINITION && definition.name.value === 'join__Graph',
    );
    this.#names = new Map(
      graphs?.values?.map((value) => [
        value.name.value,
        String(applications({ astNode: value }, 'join__graph')[0]?.name ?? ''),
      ]),
    );
  }

  get subgraphs(): ReadonlySet<string> {
    return new Set(this.#names.values());
  }

  /** The object and interface types. */
  *compositeTypes(): Iterable<Extract<GraphQLNamedType, { getFields(): unknown }> & { getFields(): Fields }> {
    for (const type of Object.values(this.schema.getTypeMap())) {
      if ((isObjectType(type) || isInterfaceType(type)) && !type.name.startsWith('__')) yield type;
    }
  }

  /** The subgraphs that have a type; one more entry for each further key. */
  joinsOfType(type: GraphQLNamedType | undefined): JoinType[] {
    return applications(type, 'join__type').map(({ graph, key }) => ({
      subgraph: this.#names.get(String(graph)) ?? '',
      key: key as string | undefined,
    }));
  }

  /** The names of the subgraphs that have a type. */
  subgraphsOfType(type: GraphQLNamedType | undefined): ReadonlySet<string> {
    return new Set(this.joinsOfType(type).map(({ subgraph }) => subgraph));
  }

  /** The subgraphs that have a field; empty when all that have its type do. */
  joinsOfField(field: GraphQLField<unknown, unknown> | undefined): JoinField[] {
    return applications(field, 'join__field').map(({ graph, ...join }) => ({
      ...join,
      subgraph: graph === undefined ? undefined : this.#names.get(String(graph)),
    }));
  }
}

type Fields = Record<string, GraphQLField<unknown, unknown>>;

/** The arguments of each application of a directive. */
export function applications(node: Annotated, directive: string): Record<string, unknown>[] {
  const applied = (node?.astNode?.directives ?? []).filter(({ name }) => name.value === directive);
  return applied.map(({ arguments: given = [] }) =>
    Object.fromEntries(given.map(({ name, value }) => [name.value, valueFromASTUntyped(value)])),
  );
}

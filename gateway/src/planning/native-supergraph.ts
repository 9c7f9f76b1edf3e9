import {
  type ConstDirectiveNode,
  type DocumentNode,
  type FieldDefinitionNode,
  Kind,
  type NamedTypeNode,
  type ObjectTypeDefinitionNode,
  parse,
  print,
  type StringValueNode,
  type TypeNode,
} from 'graphql';

/**
 * Adapts a supergraph to what the native planner makes of it:
 *
 * - Of several keys it takes the last one, and Apollo's planner the first, which the authors of subgraphs expect. So the keys are reversed.
 * - Below a field with `@provides` it sees only what is provided, and may fetch an entity by a provided copy of a key, which may be outdated. So
 *   the keys that the subgraph itself has of the entity are added to what it provides.
 * - It draws labels such as `percent(5)` itself. The gateway draws all labels, so here these are labels like others.
 */
export function adaptedSupergraph(supergraphSdl: string): string {
  const document = parse(supergraphSdl, { noLocation: true });
  const keys = keysOf(document);
  const definitions = document.definitions.map((definition) => {
    if (definition.kind !== Kind.OBJECT_TYPE_DEFINITION && definition.kind !== Kind.INTERFACE_TYPE_DEFINITION)
      return definition;
    return {
      ...definition,
      directives: [...(definition.directives ?? [])].reverse(),
      fields: definition.fields?.map((field) => adaptedField(field, keys)),
    };
  });
  return print({ ...document, definitions });
}

/** A label as it is in the adapted supergraph. */
export function adaptedLabel(label: string): string {
  return label.replace(/^percent\((.*)\)$/, 'percent_$1');
}

type Keys = ReadonlyMap<string, readonly string[]>;

/** The keys of one field that each type has in each subgraph. */
function keysOf({ definitions }: DocumentNode): Keys {
  const keys = new Map<string, string[]>();
  for (const definition of definitions) {
    if (!('directives' in definition) || !('name' in definition)) continue;
    for (const directive of definition.directives ?? []) {
      const key = argumentOf(directive as ConstDirectiveNode, 'key');
      if (directive.name.value !== 'join__type' || !key || !/^\w+$/.test(key)) continue;
      const place = placeOf((definition as ObjectTypeDefinitionNode).name.value, directive as ConstDirectiveNode);
      keys.set(place, [...(keys.get(place) ?? []), key]);
    }
  }
  return keys;
}

function adaptedField(field: FieldDefinitionNode, keys: Keys): FieldDefinitionNode {
  const directives = field.directives?.map((directive) => {
    if (directive.name.value !== 'join__field') return directive;
    const args = directive.arguments?.map((argument) => {
      const { value } = argument;
      if (value.kind !== Kind.STRING) return argument;
      if (argument.name.value === 'overrideLabel') return { ...argument, value: textNode(adaptedLabel(value.value)) };
      if (argument.name.value !== 'provides') return argument;
      const own = keys.get(placeOf(namedType(field.type).name.value, directive)) ?? [];
      const added = own.filter((key) => !new RegExp(`\\b${key}\\b`).test(value.value));
      return { ...argument, value: textNode([...added, value.value].join(' ')) };
    });
    return { ...directive, arguments: args };
  });
  return { ...field, directives };
}

function placeOf(typeName: string, directive: ConstDirectiveNode): string {
  return `${typeName} ${argumentOf(directive, 'graph')}`;
}

function argumentOf({ arguments: list = [] }: ConstDirectiveNode, name: string): string | undefined {
  const value = list.find((argument) => argument.name.value === name)?.value;
  return value?.kind === Kind.STRING || value?.kind === Kind.ENUM ? value.value : undefined;
}

function namedType(type: TypeNode): NamedTypeNode {
  return type.kind === Kind.NAMED_TYPE ? type : namedType(type.type);
}

function textNode(value: string): StringValueNode {
  return { kind: Kind.STRING, value };
}

import {
  type FieldNode,
  type GraphQLNamedType,
  type GraphQLObjectType,
  getNamedType,
  getNullableType,
  type InlineFragmentNode,
  isListType,
  isObjectType,
  Kind,
  type OperationDefinitionNode,
  parse,
  print,
  type SelectionSetNode,
  stripIgnoredCharacters,
} from 'graphql';
import { isObject, type Json } from '../lib/json.js';
import { applications, type JoinField, type SupergraphSchema } from '../lib/supergraph-schema.js';

/** How an operation for a subgraph is cached. */
export interface CachePlan {
  /** The operation, with the keys of all entities added to its selections. */
  readonly text: string;
  /** Whether the result is valid only for requests with the same partition key. */
  readonly isPrivate: boolean;
  readonly subgraph: string;
  /** Collects the entities that a result depends on: that of one entity, or of the whole root. */
  readonly dependenciesOf: (value: Json | undefined) => { readonly entities: string[]; readonly owned: string[] };
}

/** The entities (`Type:id`, or `*Type`) that a value depends on. */
interface CollectedEntities {
  /** Entities whose changes in any service make the value stale: it has, or may have, copies of their data. */
  readonly entities: Set<string>;
  /** Entities of which the value has only data of its own service. */
  readonly owned: Set<string>;
}

/** Adds the entities that a value depends on. */
type Collect = (value: Json | undefined, into: CollectedEntities) => void;

interface Selected {
  readonly selectionSet: SelectionSetNode;
  readonly collect: Collect;
  /** Whether it selects copies of another service's data outside an entity with a key. */
  readonly hasCopies: boolean;
}

/** The operation cannot be cached. */
class NotCacheable extends Error {}

const field = (name: string): FieldNode => ({ kind: Kind.FIELD, name: { kind: Kind.NAME, value: name } });

/**
 * Decides what may be cached, by the directive `@cacheControl`: on an entity type it makes the fields of the type cacheable, on a root field that
 * field; `scope: "PRIVATE"` caches per partition key, and `scope: "NONE"` excludes a field. A root field that is not a single entity lists in `of`
 * the types whose events make it stale.
 */
export class CachePolicy {
  readonly #supergraph: SupergraphSchema;

  constructor(supergraph: SupergraphSchema) {
    this.#supergraph = supergraph;
  }

  /** @returns null when it cannot be cached */
  planFor(subgraphName: string, text: string): CachePlan | null {
    const definition = parse(text, { noLocation: true }).definitions[0] as OperationDefinitionNode;
    if (definition.operation !== 'query' || !this.#supergraph.subgraphs.has(subgraphName)) return null;
    try {
      return new OperationReader(this.#supergraph, subgraphName).read(definition);
    } catch (error) {
      if (error instanceof NotCacheable) return null;
      throw error;
    }
  }
}

class OperationReader {
  readonly #supergraph: SupergraphSchema;
  /** The name of the subgraph. */
  readonly #subgraph: string;
  #isPrivate = false;

  constructor(supergraph: SupergraphSchema, subgraph: string) {
    this.#supergraph = supergraph;
    this.#subgraph = subgraph;
  }

  read(definition: OperationDefinitionNode): CachePlan {
    const [first] = definition.selectionSet.selections;
    const isEntities = first?.kind === Kind.FIELD && first.name.value === '_entities';
    const { selectionSet, collect } = isEntities ? this.#entities(first) : this.#root(definition.selectionSet);
    return {
      text: stripIgnoredCharacters(print({ ...definition, selectionSet })),
      isPrivate: this.#isPrivate,
      subgraph: this.#subgraph,
      dependenciesOf: (value) => {
        const collected: CollectedEntities = { entities: new Set(), owned: new Set() };
        collect(value, collected);
        return { entities: [...collected.entities], owned: [...collected.owned] };
      },
    };
  }

  #entities(entities: FieldNode) {
    const byType = new Map<string, Collect>();
    const selections = (entities.selectionSet?.selections ?? []).map((selection) => {
      const typeName = selection.kind === Kind.INLINE_FRAGMENT ? selection.typeCondition?.name.value : undefined;
      if (!typeName) throw new NotCacheable();
      const fragment = selection as InlineFragmentNode;
      const type = this.#entityType(typeName);
      const { selectionSet, collect } = this.#object(type, fragment.selectionSet);
      byType.set(typeName, collect);
      return { ...fragment, selectionSet };
    });
    const collect: Collect = (value, into) => {
      // The type of a missing entity is unknown.
      if (!isObject(value)) for (const typeName of byType.keys()) into.entities.add(`*${typeName}`);
      else byType.get(String(value.__typename))?.(value, into);
    };
    const inner: SelectionSetNode = { kind: Kind.SELECTION_SET, selections };
    return {
      selectionSet: { kind: Kind.SELECTION_SET as const, selections: [{ ...entities, selectionSet: inner }] },
      collect,
    };
  }

  #root(root: SelectionSetNode) {
    const collects: Collect[] = [];
    const selections = root.selections.map((selection) => {
      if (selection.kind !== Kind.FIELD) throw new NotCacheable();
      const name = selection.name.value;
      if (name === '__typename') return selection;
      const definition = this.#supergraph.schema.getQueryType()?.getFields()[name];
      const declared = declarationOf(definition);
      if (!definition || !declared) throw new NotCacheable();
      this.#apply(declared);
      const responseName = (selection.alias ?? selection.name).value;
      const type = getNamedType(definition.type);
      const of = declared.of ?? [];
      if (of.length === 0 && (isListType(getNullableType(definition.type)) || !this.#keyOf(type.name)))
        throw new NotCacheable();
      collects.push((value, into) => {
        for (const typeName of of) into.entities.add(`*${typeName}`);
        const found = isObject(value) ? value[responseName] : undefined;
        if (of.length === 0 && !isObject(found)) into.entities.add(`*${type.name}`);
      });
      if (!selection.selectionSet) return selection;
      const below = this.#value(type, selection.selectionSet);
      collects.push((value, into) => below.collect(isObject(value) ? value[responseName] : undefined, into));
      return { ...selection, selectionSet: below.selectionSet };
    });
    const collect: Collect = (value, into) => {
      for (const each of collects) each(value, into);
    };
    return { selectionSet: { kind: Kind.SELECTION_SET as const, selections }, collect };
  }

  /** An object or a list, of an entity type or not. */
  #value(type: GraphQLNamedType, selectionSet: SelectionSetNode): Selected {
    if (!isObjectType(type)) throw new NotCacheable();
    const object = this.#object(this.#isEntity(type.name) ? this.#entityType(type.name) : type, selectionSet);
    const collect: Collect = (value, into) => {
      if (Array.isArray(value)) for (const element of value) collect(element, into);
      else object.collect(value, into);
    };
    return { ...object, collect };
  }

  #object(type: GraphQLObjectType, selectionSet: SelectionSetNode): Selected {
    const collects: [responseName: string, collect: Collect][] = [];
    const key = this.#isEntity(type.name) ? this.#keyOf(type.name) : null;
    let hasCopies = false;
    const selections = selectionSet.selections.map((selection) => {
      if (selection.kind !== Kind.FIELD) throw new NotCacheable();
      const name = selection.name.value;
      if (name === '__typename') return selection;
      const definition = type.getFields()[name];
      if (!definition) throw new NotCacheable();
      this.#apply(declarationOf(definition));
      if (this.#isCopy(type.name, name)) hasCopies = true;
      if (!selection.selectionSet) return selection;
      const below = this.#value(getNamedType(definition.type), selection.selectionSet);
      if (below.hasCopies) hasCopies = true;
      collects.push([(selection.alias ?? selection.name).value, below.collect]);
      return { ...selection, selectionSet: below.selectionSet };
    });
    const asked = new Set(selections.filter(({ alias }) => !alias).map(({ name }) => name.value));
    const missing = key ? ['__typename', key].filter((name) => !asked.has(name)).map(field) : [];
    const collect: Collect = (value, into) => {
      if (!isObject(value)) return;
      if (key) (hasCopies ? into.entities : into.owned).add(`${type.name}:${value[key]}`);
      for (const [responseName, below] of collects) below(value[responseName], into);
    };
    const selected = { kind: Kind.SELECTION_SET as const, selections: [...missing, ...selections] };
    // Copied fields are invalidated through the nearest enclosing entity.
    return { selectionSet: selected, collect, hasCopies: hasCopies && !key };
  }

  /** Whether the field may be a copy of another service's data: it is `@external` here, or another subgraph resolves it as well. */
  #isCopy(typeName: string, fieldName: string): boolean {
    const type = this.#supergraph.schema.getType(typeName);
    const definition = isObjectType(type) ? type.getFields()[fieldName] : undefined;
    const joins = this.#supergraph.joinsOfField(definition);
    if (joins.find(({ subgraph }) => subgraph === this.#subgraph)?.external) return true;
    const isShared = joins.length === 0 ? this.#supergraph.subgraphsOfType(type).size > 1 : resolvers(joins) > 1;
    return this.#isEntity(typeName) && fieldName !== this.#keyOf(typeName) && isShared;
  }

  #isEntity(typeName: string): boolean {
    const type = this.#supergraph.schema.getType(typeName);
    return this.#supergraph.joinsOfType(type).some(({ key }) => key !== undefined);
  }

  #entityType(typeName: string): GraphQLObjectType {
    const type = this.#supergraph.schema.getType(typeName);
    const declared = declarationOf(type);
    if (!type || !isObjectType(type) || !declared || !this.#keyOf(typeName)) throw new NotCacheable();
    this.#apply(declared);
    return type;
  }

  /** The first single-field key of the type in this subgraph: events identify the entity by it. */
  #keyOf(typeName: string): string | null {
    const joins = this.#supergraph.joinsOfType(this.#supergraph.schema.getType(typeName));
    const own = joins.filter(({ subgraph }) => subgraph === this.#subgraph);
    return own.map(({ key = '' }) => key.trim()).find((key) => /^\w+$/.test(key)) ?? null;
  }

  #apply(declared: Declaration | undefined): void {
    if (declared?.scope === 'NONE') throw new NotCacheable();
    if (declared?.scope === 'PRIVATE') this.#isPrivate = true;
  }
}

interface Declaration {
  readonly scope?: string;
  readonly of?: readonly string[];
}

function declarationOf(node: Parameters<typeof applications>[0]): Declaration | undefined {
  return applications(node, 'cacheControl')[0] as Declaration | undefined;
}

/** Counts the subgraphs that resolve a field. */
function resolvers(joins: readonly JoinField[]): number {
  return joins.filter(({ external, usedOverridden }) => !external && !usedOverridden).length;
}

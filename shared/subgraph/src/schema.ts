import 'reflect-metadata';
import { buildSubgraphSchema } from '@apollo/subgraph';
import { printSchemaWithDirectives } from '@graphql-tools/utils';
import { type ApiError, badUserInput } from '@tributary/server';
import { type DocumentNode, type GraphQLSchema, Kind, parse, visit } from 'graphql';
import { buildSchema, createResolversMap } from 'type-graphql';
import { clearLoaders } from './loaders.js';

const FEDERATION = `extend schema @link(
  url: "https://specs.apollo.dev/federation/v2.9"
  import: ["@key", "@external", "@provides", "@requires", "@shareable", "@composeDirective"]
)
extend schema @link(url: "https://tributary.dev/cache/v0.1", import: ["@cacheControl"])
  @composeDirective(name: "@cacheControl")
"What the gateway may keep until an event changes it: scope PUBLIC, PRIVATE or NONE; of: the types whose events change a root field."
directive @cacheControl(scope: String! = "PUBLIC", of: [String!]! = []) on OBJECT | FIELD_DEFINITION
`;

/** Answers an entity by one of its keys; null when there is none. The reference holds those of its fields that are texts. */
export type ReferenceResolver<Context> = (
  reference: Readonly<Record<string, string>>,
  context: Context,
) => unknown | Promise<unknown>;

export interface SubgraphSchemaOptions<Context> {
  /** One instance of each type-graphql resolver class. */
  readonly resolvers: readonly object[];
  /** Object types that no root field leads to (entities of other subgraphs that this one extends). */
  readonly orphanedTypes?: readonly NewableFunction[];
  /** By entity type name. */
  readonly references: Readonly<Record<string, ReferenceResolver<Context>>>;
}

/** Builds a federation 2 subgraph schema from type-graphql classes. */
export async function buildFederatedSchema<Context>(options: SubgraphSchemaOptions<Context>): Promise<GraphQLSchema> {
  const instances = new Map(options.resolvers.map((resolver) => [resolver.constructor, resolver]));
  forgetEarlierBuilds();
  const schema = await buildSchema({
    resolvers: options.resolvers.map((resolver) => resolver.constructor) as [NewableFunction, ...NewableFunction[]],
    orphanedTypes: (options.orphanedTypes ?? []) as never,
    container: { get: (resolverClass) => instances.get(resolverClass) },
    validate: false,
  });
  const resolvers = createResolversMap(schema);
  for (const [typeName, resolve] of Object.entries(options.references)) {
    resolvers[typeName] = { ...resolvers[typeName], __resolveReference: resolve } as never;
  }
  const federated = buildSubgraphSchema({
    typeDefs: restoreArgumentOrder(parse(FEDERATION + printSchemaWithDirectives(schema))),
    resolvers: resolvers as never,
  });
  clearLoadersAfterCommands(federated);
  checkReferences(federated, new Set(Object.keys(options.references)));
  return federated;
}

/** What a gateway sends to name an entity. */
type Reference = Readonly<Record<string, string>>;

/** Answers each representation that names no entity with an error of its own, and does not let it fail those beside it. */
function checkReferences(schema: GraphQLSchema, entityTypes: ReadonlySet<string>): void {
  const field = schema.getQueryType()?.getFields()._entities;
  const resolve = field?.resolve;
  if (!field || !resolve) return;
  field.resolve = async (source, args: { readonly representations: readonly unknown[] }, context, info) => {
    const references = args.representations.map((representation) => readReference(representation, entityTypes));
    const readable = references.filter((reference) => !(reference instanceof Error));
    const resolved = await resolve(source, { ...args, representations: readable }, context, info);
    const entities = (resolved as readonly unknown[]).values();
    return references.map((reference) => (reference instanceof Error ? reference : entities.next().value));
  };
}

/** Keeps the fields that can be keys: texts, and whole numbers as `ID` reads them. */
function readReference(representation: unknown, entityTypes: ReadonlySet<string>): Reference | ApiError {
  if (typeof representation !== 'object' || representation === null || Array.isArray(representation)) {
    return badUserInput('representations', 'A representation must be an object.');
  }
  const { __typename: type } = representation as { readonly __typename?: unknown };
  if (typeof type !== 'string' || !entityTypes.has(type)) {
    return badUserInput(
      'representations',
      'The "__typename" of a representation must name an entity of this subgraph.',
    );
  }
  const keys = Object.entries(representation).flatMap(([name, value]) => {
    if (typeof value === 'string') return [[name, value] as const];
    return Number.isSafeInteger(value) ? [[name, String(value)] as const] : [];
  });
  return Object.fromEntries(keys);
}

/** Mutation fields run one after the other: what one of them has loaded is old after the next one's command. */
function clearLoadersAfterCommands(schema: GraphQLSchema): void {
  for (const field of Object.values(schema.getMutationType()?.getFields() ?? {})) {
    const { resolve } = field;
    if (!resolve) continue;
    field.resolve = async (source, args, context, info) => {
      try {
        return await resolve(source, args, context, info);
      } finally {
        clearLoaders(context);
      }
    };
  }
}

/**
 * type-graphql (2.0.0-rc.3) fills its caches again at every build without emptying them, so that a second schema in one
 * process would hand every resolver its arguments twice.
 */
function forgetEarlierBuilds(): void {
  const { TypeGraphQLMetadataStorage: storage } = globalThis as { TypeGraphQLMetadataStorage?: object };
  for (const [name, cache] of Object.entries(storage ?? {})) {
    if (name.endsWith('Cache') && cache instanceof Map) cache.clear();
  }
}

/** Parameter decorators run last to first, and so type-graphql lists the arguments of a field backwards. */
function restoreArgumentOrder(document: DocumentNode): DocumentNode {
  return visit(document, {
    [Kind.FIELD_DEFINITION]: (field) => ({ ...field, arguments: [...(field.arguments ?? [])].reverse() }),
  });
}

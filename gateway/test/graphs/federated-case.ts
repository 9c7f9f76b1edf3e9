import { composeServices } from '@apollo/composition';
import { Supergraph } from '@apollo/federation-internals';
import { buildSubgraphSchema } from '@apollo/subgraph';
import { systemTime } from '@tributary/server';
import {
  type ConstDirectiveNode,
  type ConstObjectValueNode,
  type DocumentNode,
  execute,
  type GraphQLSchema,
  isInterfaceType,
  isObjectType,
  Kind,
  type ObjectTypeDefinitionNode,
  parse,
  parseConstValue,
  visit,
} from 'graphql';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import { EntityCache, InvalidationLog, TieredStore } from '../../src/cache/index.js';
import type { JsonObject } from '../../src/lib/json.js';
import type { Planners } from '../../src/planning/index.js';
import { explainPlugin } from '../../src/plugins/explain.js';
import { Graph, type GraphOptions } from '../../src/runtime/graph.js';
import type { OperationResult } from '../../src/runtime/operation-request.js';
import type { SubgraphRequest, SubgraphResult } from '../../src/subgraph/subgraph-client.js';
import { planners } from './test-planners.ts';

export type Entity = Record<string, unknown> & { __typename: string };

/** A graph cut into subgraphs, and the data of all of them in one place. */
export interface FederatedCase {
  readonly name: string;
  readonly subgraphs: Readonly<Record<string, string>>;
  /** Every entity with all of its fields; a field that is an Error fails. */
  readonly entities: readonly Entity[];
  /** The root fields. */
  readonly roots: Readonly<Record<string, (args: Record<string, unknown>) => unknown>>;
  /** Fields that a subgraph works out from what it `@requires`: `Type.field`. */
  readonly computed?: Readonly<
    Record<string, (entity: Record<string, unknown>, args: Record<string, unknown>) => unknown>
  >;
  /** Subgraphs whose schemas are as federation 1 had them. */
  readonly federation1?: readonly string[];
  /** Labels of progressive `@override`s, with the share of requests for which they are on. */
  readonly labels?: ReadonlyMap<string, number>;
  /** References that a subgraph's resolver throws at: its whole answer is lost with them, as `@apollo/subgraph` has it. */
  readonly failing?: (subgraph: string, type: string, reference: Readonly<Record<string, unknown>>) => boolean;
  /** References that a subgraph does not have. */
  readonly absent?: (subgraph: string, type: string, reference: Readonly<Record<string, unknown>>) => boolean;
  /** Every entity type and root field is declared cacheable. */
  readonly cacheable?: boolean;
  /** Fields that a subgraph must be sent, because it does not have them: `subgraph.Type.field`. */
  readonly external?: readonly string[];
}

/** An answer as JSON has it. */
export interface Answer {
  readonly data?: JsonObject | null;
  readonly errors?: readonly {
    readonly message: string;
    readonly path?: readonly (string | number)[];
    readonly locations?: readonly { readonly line: number; readonly column: number }[];
    readonly extensions?: Readonly<Record<string, unknown>>;
  }[];
}

const FEDERATION = `extend schema @link(url: "https://specs.apollo.dev/federation/v2.9", import: [
  "@key", "@requires", "@provides", "@external", "@shareable", "@override", "@inaccessible",
  "@interfaceObject", "@context", "@fromContext", "@composeDirective"
])\n`;

const CACHE_CONTROL = `
  extend schema @link(url: "https://tributary.dev/cache/v0.1", import: ["@cacheControl"])
    @composeDirective(name: "@cacheControl")
  directive @cacheControl(scope: String! = "PUBLIC", of: [String!]! = []) on OBJECT | FIELD_DEFINITION\n`;

/** The graph, run by the engine over its subgraphs, and by graphql-js on one schema that has everything. */
export function buildCase(
  federated: FederatedCase,
  options: Partial<GraphOptions> = {},
  plannedBy: Planners = planners,
) {
  const names = Object.keys(federated.subgraphs);
  const typeDefs = new Map(
    names.map((name) => {
      const sdl = federated.subgraphs[name] as string;
      if (federated.federation1?.includes(name)) return [name, parse(sdl)];
      return [name, federated.cacheable ? cacheable(parse(FEDERATION + CACHE_CONTROL + sdl)) : parse(FEDERATION + sdl)];
    }),
  );
  const composed = composeServices(
    names.map((name) => ({ name, url: `http://${name}`, typeDefs: typeDefs.get(name) as ReturnType<typeof parse> })),
  );
  if (!composed.supergraphSdl)
    throw new Error(`${federated.name}: ${composed.errors?.map(({ message }) => message).join('\n')}`);
  const apiSchema = Supergraph.build(composed.supergraphSdl, { supportedFeatures: null })
    .apiSchema()
    .toGraphQLJSSchema();
  const sent: {
    subgraph: string;
    query: string;
    variables: Record<string, unknown>;
    headers: Readonly<Record<string, string>>;
  }[] = [];
  const fetchers = new Map(
    names.map((name) => {
      const schema = subgraphSchema(federated, name, typeDefs.get(name) as ReturnType<typeof parse>);
      const fetcher = async ({ body, headers }: SubgraphRequest): Promise<SubgraphResult> => {
        const { query, variables } = JSON.parse(body);
        sent.push({ subgraph: name, query, variables, headers });
        const text = JSON.stringify(await execute({ schema, document: parse(query), variableValues: variables }));
        // As the HTTP transport gives it.
        const positions = new Map([[name, { position: 1, ageMs: null }]]);
        return { ...JSON.parse(text), plain: !text.includes('\\'), positions };
      };
      return [name, fetcher] as const;
    }),
  );
  const { labels = new Map() } = federated;
  const engine = new Graph({
    supergraphSdl: composed.supergraphSdl,
    apiSchema,
    planners: plannedBy.of(composed.supergraphSdl),
    fetchers,
    labels,
    plugins: [explainPlugin(null)],
    ...options,
  });
  return {
    apiSchema,
    fetchers,
    /** How many fetches were sent so far. */
    fetches: () => sent.length,
    /** What was sent, in order. */
    sent,
    engine,
    run: async (query: string, variables: Record<string, unknown> = {}, headers: Record<string, string> = {}) =>
      read(await engine.run({ query, variables, headers })),
    expected: (query: string, variables: Record<string, unknown> = {}) =>
      execute({
        schema: apiSchema,
        document: parse(query),
        variableValues: variables,
        fieldResolver: (source, args, _context, { fieldName, parentType }) =>
          resolve(federated, parentType.name, fieldName, source as Entity | undefined, args),
      }),
  };
}

/** The same subgraph with everything declared cacheable. */
function cacheable(document: DocumentNode): DocumentNode {
  const ofAll = document.definitions.flatMap((definition) =>
    definition.kind === Kind.OBJECT_TYPE_DEFINITION && isEntity(definition) ? [definition.name.value] : [],
  );
  const directive = (of: readonly string[]) =>
    parseConstValue(`{ of: ${JSON.stringify(of)} }`, { noLocation: true }) as ConstObjectValueNode;
  const declared = (of: readonly string[]): ConstDirectiveNode => ({
    kind: Kind.DIRECTIVE,
    name: { kind: Kind.NAME, value: 'cacheControl' },
    arguments: of.length === 0 ? [] : directive(of).fields.map((field) => ({ ...field, kind: Kind.ARGUMENT })),
  });
  return visit(document, {
    ObjectTypeDefinition: (type) => {
      if (type.name.value === 'Query') {
        const fields = type.fields?.map((field) => ({
          ...field,
          directives: [...(field.directives ?? []), declared(ofAll)],
        }));
        return { ...type, fields };
      }
      return isEntity(type) ? { ...type, directives: [...(type.directives ?? []), declared([])] } : undefined;
    },
  });
}

function isEntity({ directives = [] }: ObjectTypeDefinitionNode): boolean {
  const names = directives.map(({ name }) => name.value);
  return names.includes('key') && !names.includes('interfaceObject');
}

/** A cache in memory that is in sync with every subgraph; `reportUnchanged` reports that nothing changed until now. */
export function cacheFor({ subgraphs }: FederatedCase) {
  const metrics = new Registry();
  const logger = pino({ level: 'silent' });
  const log = new InvalidationLog(metrics, logger, systemTime);
  const reportUnchanged = () => {
    for (const name of Object.keys(subgraphs))
      log.onInvalidations(name, { from: 1, to: 1, at: Date.now(), touched: [] });
  };
  reportUnchanged();
  const store = new TieredStore({ maxBytes: 50_000_000, redis: null, logger, metrics, time: systemTime });
  return { cache: new EntityCache(store, log, metrics, systemTime), reportUnchanged };
}

/** An answer as a client has it. */
function read(result: OperationResult): Answer {
  return JSON.parse('text' in result ? result.text : JSON.stringify(result));
}

function resolve(
  federated: FederatedCase,
  type: string,
  field: string,
  source: Entity | undefined,
  args: Record<string, unknown>,
): unknown {
  if (!source) return federated.roots[field]?.(args);
  const computed =
    federated.computed?.[`${source.__typename ?? type}.${field}`] ?? federated.computed?.[`${type}.${field}`];
  return computed ? computed(source, args) : source[field];
}

function subgraphSchema(federated: FederatedCase, name: string, typeDefs: ReturnType<typeof parse>): GraphQLSchema {
  const schema = buildSubgraphSchema({ typeDefs, resolvers: {} });
  for (const type of Object.values(schema.getTypeMap())) {
    if (!('getFields' in type) || type.name.startsWith('_')) continue;
    if (isObjectType(type) || isInterfaceType(type)) {
      const resolveReference = (reference: Record<string, unknown>) => {
        if (federated.failing?.(name, type.name, reference)) throw new Error(`${name} cannot find this ${type.name}`);
        return federated.absent?.(name, type.name, reference)
          ? null
          : findEntity(federated, name, type.name, reference);
      };
      type.extensions = {
        ...type.extensions,
        apollo: { ...(type.extensions.apollo as object), subgraph: { resolveReference } },
      };
    }
    for (const field of Object.values(type.getFields())) {
      if ('args' in field && !field.name.startsWith('_')) {
        const isRoot = type.name === 'Query' || type.name === 'Mutation';
        field.resolve = (source: Entity, args: Record<string, unknown>) =>
          resolve(federated, type.name, field.name, isRoot ? undefined : source, args);
      }
    }
  }
  return schema;
}

/** A subgraph has of an entity what is its own, and what it was sent. */
function findEntity(
  federated: FederatedCase,
  subgraph: string,
  type: string,
  reference: Record<string, unknown>,
): Entity | null {
  // An interface, or an object that stands for one, is any of its kinds.
  const isKind = federated.entities.some(({ __typename }) => __typename === type);
  const found = federated.entities.find(
    (entity) =>
      (!isKind || entity.__typename === type) &&
      Object.entries(reference).every(
        ([field, value]) =>
          field === '__typename' ||
          isExternal(federated, subgraph, entity, type, field) ||
          sameKey(entity[field], value),
      ),
  );
  if (!found) return null;
  const external = Object.keys({ ...found, ...reference }).filter((field) =>
    isExternal(federated, subgraph, found, type, field),
  );
  const entity: Entity = { ...found };
  for (const field of external) {
    if (field in reference) entity[field] = reference[field];
    else delete entity[field];
  }
  return entity;
}

function isExternal(
  { external = [] }: FederatedCase,
  subgraph: string,
  { __typename }: Entity,
  type: string,
  field: string,
): boolean {
  return external.includes(`${subgraph}.${type}.${field}`) || external.includes(`${subgraph}.${__typename}.${field}`);
}

function sameKey(have: unknown, expected: unknown): boolean {
  if (typeof expected !== 'object' || expected === null) return have === expected;
  return Object.entries(expected).every(
    ([field, value]) => field === '__typename' || sameKey((have as Entity | null)?.[field], value),
  );
}

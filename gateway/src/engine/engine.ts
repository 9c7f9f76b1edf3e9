import { operationFromDocument, Supergraph } from '@apollo/federation-internals';
import { type PlanNode, QueryPlanner } from '@apollo/query-planner';
import {
  type DocumentNode,
  executeSync,
  type FieldNode,
  type FragmentDefinitionNode,
  GraphQLError,
  type GraphQLSchema,
  getOperationAST,
  getVariableValues,
  Kind,
  type OperationDefinitionNode,
  OperationTypeNode,
} from 'graphql';
import { LRUCache } from 'lru-cache';
import { type ConditionValues, conditionVariables, withSettledConditions } from './conditions.js';
import { compilePlan, type RunNode } from './plan-runner.js';
import { compileShape, type Shape } from './response-shape.js';
import { SharedFetches } from './shared-fetches.js';
import { TypeConditions } from './type-conditions.js';
import type { Fetcher, JsonObject } from './types.js';

const MAX_OPERATIONS = 1000;
/** An operation is planned for each set of values that its @skip and @include have; so many of them are kept. */
const MAX_VARIANTS = 32;

export interface EngineOptions {
  readonly supergraphSdl: string;
  /** What clients may ask for. */
  readonly apiSchema: GraphQLSchema;
  /** By the subgraph's name. */
  readonly fetchers: ReadonlyMap<string, Fetcher>;
  /** Whether queries to subgraphs that are under way are shared by those who want the same. */
  readonly shareFetches: boolean;
}

/** An operation of a client, checked against the schema. */
export interface EngineRequest {
  readonly query: string;
  readonly document: DocumentNode;
  readonly operationName: string | undefined;
  readonly variables: Readonly<Record<string, unknown>>;
  readonly headers: Readonly<Record<string, string>>;
}

export interface EngineResult {
  /** Left out when nothing was executed. */
  readonly data?: JsonObject | null;
  readonly errors?: readonly GraphQLError[];
}

/** An operation as a client wrote it. */
interface KnownOperation {
  readonly document: DocumentNode;
  readonly operation: OperationDefinitionNode;
  readonly fragments: Readonly<Record<string, FragmentDefinitionNode>>;
  /** Variables that decide what is in the answer. */
  readonly conditions: readonly string[];
  /** By the values of these variables. */
  readonly variants: LRUCache<string, Variant>;
  /** `__schema` and `__type` fields of the root, if any. */
  readonly introspection: OperationDefinitionNode | null;
}

/** An operation, planned and compiled: what is left for each request is to run it. */
interface Variant {
  readonly run: RunNode | null;
  /** Null when it has to be made for each request, because the schema is asked about itself. */
  readonly shape: Shape | null;
}

/** Runs operations on one supergraph: plans and compiles each once, runs it for each request. */
export class Engine {
  readonly #apiSchema: GraphQLSchema;
  readonly #supergraph: Supergraph;
  readonly #planner: QueryPlanner;
  readonly #types: TypeConditions;
  readonly #fetchers: ReadonlyMap<string, Fetcher>;
  readonly #shared: SharedFetches;
  readonly #operations = new LRUCache<string, KnownOperation>({ max: MAX_OPERATIONS });

  constructor({ supergraphSdl, apiSchema, fetchers, shareFetches }: EngineOptions) {
    this.#apiSchema = apiSchema;
    this.#supergraph = Supergraph.build(supergraphSdl, { validateSupergraph: false });
    this.#planner = new QueryPlanner(this.#supergraph);
    this.#types = new TypeConditions(this.#supergraph.schema.toGraphQLJSSchema());
    this.#fetchers = fetchers;
    this.#shared = new SharedFetches(shareFetches);
  }

  async run(request: EngineRequest): Promise<EngineResult> {
    const known = this.#known(request);
    const definitions = known.operation.variableDefinitions ?? [];
    const { coerced, errors: wrong } = getVariableValues(this.#apiSchema, definitions, request.variables, {
      maxErrors: 20,
    });
    if (wrong) return { errors: wrong };
    const { run, shape } = this.#variant(known, coerced);
    const data: JsonObject = {};
    const errors: GraphQLError[] = [];
    if (run) {
      const { headers } = request;
      const isQuery = known.operation.operation === OperationTypeNode.QUERY;
      const credentials = isQuery ? credentialsOf(headers) : null;
      const variables = forwarded(request.variables, coerced);
      await run({ variables, headers, credentials, data, errors }, { path: [], values: [data] });
      if (!isQuery) this.#shared.forget();
    }
    const shaped = (shape ?? this.#shape(known, coerced))(data, errors);
    return errors.length > 0
      ? { errors: errors.map((error) => within(shaped, error)), data: shaped }
      : { data: shaped };
  }

  #known({ query, document, operationName }: EngineRequest): KnownOperation {
    const key = operationName === undefined ? query : `${operationName}\n${query}`;
    let known = this.#operations.get(key);
    if (!known) {
      // An answer with a field of this name would not be an object like others.
      if (query.includes('__proto__')) throw new GraphQLError('"__proto__" cannot be the name of a field or an alias.');
      const operation = getOperationAST(document, operationName) as OperationDefinitionNode;
      const fragments = Object.fromEntries(
        document.definitions.flatMap((definition) =>
          definition.kind === Kind.FRAGMENT_DEFINITION ? [[definition.name.value, definition]] : [],
        ),
      );
      known = {
        document,
        operation,
        fragments,
        conditions: conditionVariables(document),
        variants: new LRUCache({ max: MAX_VARIANTS }),
        introspection: introspectionOf(operation, fragments),
      };
      this.#operations.set(key, known);
    }
    return known;
  }

  #variant(known: KnownOperation, variables: Readonly<Record<string, unknown>>): Variant {
    const { conditions, variants } = known;
    const key = conditions.map((name) => (variables[name] ? '1' : '0')).join('');
    let variant = variants.get(key);
    if (!variant) {
      const values = Object.fromEntries(conditions.map((name) => [name, variables[name] === true]));
      variant = {
        run: this.#plan(known, values),
        shape: known.introspection ? null : this.#shape(known, variables),
      };
      variants.set(key, variant);
    }
    return variant;
  }

  #plan({ document, operation }: KnownOperation, values: ConditionValues): RunNode | null {
    const operationName = operation.name?.value;
    const planned = operationFromDocument(
      this.#supergraph.apiSchema(),
      withSettledConditions(document, values),
      operationName === undefined ? {} : { operationName },
    );
    const { node } = this.#planner.buildQueryPlan(planned);
    if (node?.kind === 'Subscription') throw new GraphQLError('Subscriptions are not served here.');
    const parts = { types: this.#types, fetchers: this.#fetchers, shared: this.#shared };
    return node ? compilePlan(node as PlanNode, parts) : null;
  }

  #shape(known: KnownOperation, variables: Readonly<Record<string, unknown>>): Shape {
    const { operation, fragments, introspection } = known;
    const asked = introspection && this.#introspect(introspection, fragments, variables);
    return compileShape(operation, { schema: this.#apiSchema, fragments, variables, introspection: asked });
  }

  #introspect(
    operation: OperationDefinitionNode,
    fragments: Readonly<Record<string, FragmentDefinitionNode>>,
    variables: Readonly<Record<string, unknown>>,
  ): JsonObject {
    const document: DocumentNode = { kind: Kind.DOCUMENT, definitions: [operation, ...Object.values(fragments)] };
    const { data } = executeSync({ schema: this.#apiSchema, document, variableValues: variables });
    return (data ?? {}) as JsonObject;
  }
}

/** An error of a field that the client did not ask for (a key, say, or another type's) is told of the object that has it. */
function within(data: JsonObject | null, error: GraphQLError): GraphQLError {
  const path = error.path ?? [];
  let value: unknown = data;
  for (const [i, key] of path.entries()) {
    if (value === null || typeof value !== 'object') return error;
    if (!Object.hasOwn(value, key)) {
      return new GraphQLError(error.message, { path: path.slice(0, i), extensions: error.extensions });
    }
    value = (value as Record<string | number, unknown>)[key];
  }
  return error;
}

/** Subgraphs are sent what the client gave, and what the operation's defaults say where it gave nothing. */
function forwarded(
  given: Readonly<Record<string, unknown>>,
  coerced: Readonly<Record<string, unknown>>,
): Readonly<Record<string, unknown>> {
  const variables: Record<string, unknown> = {};
  for (const name in coerced)
    variables[name] = name in given && given[name] !== undefined ? given[name] : coerced[name];
  return variables;
}

/** Requests with the same credentials may share what they fetch. */
function credentialsOf({
  'x-request-id': _,
  traceparent,
  tracestate,
  ...credentials
}: Readonly<Record<string, string>>): string {
  return JSON.stringify(Object.entries(credentials).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** The part of an operation that asks about the schema itself. */
function introspectionOf(
  operation: OperationDefinitionNode,
  fragments: Readonly<Record<string, FragmentDefinitionNode>>,
): OperationDefinitionNode | null {
  const found: FieldNode[] = [];
  const look = ({ selections }: OperationDefinitionNode['selectionSet']) => {
    for (const selection of selections) {
      if (selection.kind === Kind.FIELD) {
        if (selection.name.value === '__schema' || selection.name.value === '__type') found.push(selection);
      } else {
        const fragment = selection.kind === Kind.FRAGMENT_SPREAD ? fragments[selection.name.value] : selection;
        if (fragment) look(fragment.selectionSet);
      }
    }
  };
  look(operation.selectionSet);
  if (found.length === 0) return null;
  return { ...operation, selectionSet: { kind: Kind.SELECTION_SET, selections: found } };
}

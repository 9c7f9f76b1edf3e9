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
  visit,
} from 'graphql';
import { LRUCache } from 'lru-cache';
import { compilePlan, type RunNode } from './plan-runner.js';
import { compileShape, type Shape } from './response-shape.js';
import { SharedFetches } from './shared-fetches.js';
import { TypeConditions } from './type-conditions.js';
import type { Fetcher, JsonObject } from './types.js';

const MAX_OPERATIONS = 1000;
/** Operations whose @skip and @include have more variables than a few have more shapes than are worth keeping. */
const MAX_SHAPES = 64;

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

/** An operation, planned and compiled: what is left for each request is to run it. */
interface CompiledOperation {
  readonly run: RunNode | null;
  readonly operation: OperationDefinitionNode;
  /** Variables that decide what is in the answer. */
  readonly conditions: readonly string[];
  readonly shapes: LRUCache<string, Shape>;
  readonly fragments: Readonly<Record<string, FragmentDefinitionNode>>;
  /** `__schema` and `__type` fields of the root, if any. */
  readonly introspection: OperationDefinitionNode | null;
}

/** Runs operations on one supergraph: plans and compiles each once, runs it for each request. */
export class Engine {
  readonly #apiSchema: GraphQLSchema;
  readonly #supergraph: Supergraph;
  readonly #planner: QueryPlanner;
  readonly #types: TypeConditions;
  readonly #fetchers: ReadonlyMap<string, Fetcher>;
  readonly #shared: SharedFetches;
  readonly #operations = new LRUCache<string, CompiledOperation>({ max: MAX_OPERATIONS });

  constructor({ supergraphSdl, apiSchema, fetchers, shareFetches }: EngineOptions) {
    this.#apiSchema = apiSchema;
    this.#supergraph = Supergraph.build(supergraphSdl, { validateSupergraph: false });
    this.#planner = new QueryPlanner(this.#supergraph);
    this.#types = new TypeConditions(this.#supergraph.schema.toGraphQLJSSchema());
    this.#fetchers = fetchers;
    this.#shared = new SharedFetches(shareFetches);
  }

  async run(request: EngineRequest): Promise<EngineResult> {
    const compiled = this.#compiled(request);
    const { coerced, errors: wrong } = getVariableValues(
      this.#apiSchema,
      compiled.operation.variableDefinitions ?? [],
      request.variables,
      { maxErrors: 20 },
    );
    if (wrong) return { errors: wrong };
    const data: JsonObject = {};
    const errors: GraphQLError[] = [];
    if (compiled.run) {
      const { headers } = request;
      const run = {
        variables: forwarded(request.variables, coerced),
        headers,
        credentials: credentialsOf(headers),
        data,
        errors,
      };
      await compiled.run(run, { path: [], values: [data] });
    }
    const shaped = this.#shape(compiled, coerced)(data, errors);
    return errors.length > 0 ? { errors, data: shaped } : { data: shaped };
  }

  #compiled({ query, document, operationName }: EngineRequest): CompiledOperation {
    const key = operationName === undefined ? query : `${operationName}\n${query}`;
    let compiled = this.#operations.get(key);
    if (!compiled) {
      compiled = this.#compile(document, operationName);
      this.#operations.set(key, compiled);
    }
    return compiled;
  }

  #compile(document: DocumentNode, operationName: string | undefined): CompiledOperation {
    const operation = getOperationAST(document, operationName) as OperationDefinitionNode;
    const fragments = Object.fromEntries(
      document.definitions.flatMap((definition) =>
        definition.kind === Kind.FRAGMENT_DEFINITION ? [[definition.name.value, definition]] : [],
      ),
    );
    const planned = operationFromDocument(
      this.#supergraph.apiSchema(),
      document,
      operationName === undefined ? {} : { operationName },
    );
    const { node } = this.#planner.buildQueryPlan(planned);
    if (node?.kind === 'Subscription') throw new GraphQLError('Subscriptions are not served here.');
    const parts = { types: this.#types, fetchers: this.#fetchers, shared: this.#shared };
    return {
      run: node ? compilePlan(node as PlanNode, parts) : null,
      operation,
      conditions: conditionsOf(document),
      shapes: new LRUCache({ max: MAX_SHAPES }),
      fragments,
      introspection: introspectionOf(operation, fragments),
    };
  }

  #shape(compiled: CompiledOperation, variables: Readonly<Record<string, unknown>>): Shape {
    const { operation, fragments, conditions, shapes, introspection } = compiled;
    if (introspection) {
      // What is asked of the schema may depend on any variable; nobody asks it so often that it has to be fast.
      const answer = this.#introspect(introspection, fragments, variables);
      return compileShape(operation, { schema: this.#apiSchema, fragments, variables, introspection: answer });
    }
    const key = conditions.map((name) => (variables[name] ? '1' : '0')).join('');
    let shape = shapes.get(key);
    if (!shape) {
      shape = compileShape(operation, { schema: this.#apiSchema, fragments, variables, introspection: null });
      shapes.set(key, shape);
    }
    return shape;
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

function conditionsOf(document: DocumentNode): string[] {
  const names = new Set<string>();
  visit(document, {
    Directive({ name, arguments: args }) {
      if (name.value !== 'skip' && name.value !== 'include') return;
      for (const { value } of args ?? []) if (value.kind === Kind.VARIABLE) names.add(value.name.value);
    },
  });
  return [...names].sort();
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

import { createHash } from 'node:crypto';
import type { FetchNode } from '@apollo/query-planner';
import {
  type DocumentNode,
  Kind,
  type OperationDefinitionNode,
  parse,
  print,
  stripIgnoredCharacters,
  type VariableDefinitionNode,
  visit,
} from 'graphql';
import { LRUCache } from 'lru-cache';
import type { CachePlan, CachePolicy } from '../freshness/cache-policy.js';

const MAX_OPERATIONS = 10_000;

/** An operation of a plan, as a subgraph is sent it. */
export interface SubgraphOperation {
  /** Different for operations that differ. */
  readonly id: number;
  readonly subgraph: string;
  readonly text: string;
  /** The request's body, up to the value of "variables". */
  readonly start: string;
  /** The client's variables that it uses. */
  readonly usages: readonly string[];
  /** Its own variables besides `representations`: arguments from a context. */
  readonly contextual: readonly string[];
  /** It changes nothing. */
  readonly repeatable: boolean;
  /** How what it answers is cached; null: not at all. */
  readonly cache: CachePlan | null;
  /** What its answers are kept under, in every process. */
  readonly cacheKey: string;
}

/** Gives plans' operations their numbers: the same text for the same subgraph is the same operation. */
export class SubgraphOperations {
  readonly #policy: CachePolicy | null;
  readonly #known = new LRUCache<string, SubgraphOperation>({ max: MAX_OPERATIONS });
  #last = 0;

  /** @param policy null: nothing is cached */
  constructor(policy: CachePolicy | null) {
    this.#policy = policy;
  }

  of({
    serviceName: subgraph,
    operation: planned,
    operationName,
    operationKind,
    variableUsages,
    contextRewrites,
  }: FetchNode): SubgraphOperation {
    const contextual = [...new Set((contextRewrites ?? []).map(({ renameKeyTo }) => renameKeyTo))];
    const key = `${subgraph} ${planned}`;
    let operation = this.#known.get(key);
    if (!operation) {
      const cache = this.#policy?.planFor(subgraph, planned) ?? null;
      const text = cache?.text ?? planned;
      operation = {
        id: ++this.#last,
        subgraph,
        text,
        start: startOf(text, operationName),
        usages: (variableUsages ?? []).filter((name) => !contextual.includes(name)),
        contextual,
        repeatable: operationKind === 'query',
        cache,
        cacheKey: cache ? createHash('sha256').update(key).digest('base64url') : '',
      };
      this.#known.set(key, operation);
    }
    return operation;
  }
}

function startOf(query: string, operationName: string | undefined): string {
  return `${JSON.stringify({ query, operationName }).slice(0, -1)},"variables":`;
}

/**
 * Several operations that ask for entities as one: the `i`th answers under the name `_i`, with variables of its own for its
 * representations (`representations_i`) and contexts; the client's variables are the same for all.
 */
export function compose(operations: readonly SubgraphOperation[]): SubgraphOperation {
  const definitions = operations.map((operation, i) => numbered(operation, i));
  const variables = new Map<string, VariableDefinitionNode>();
  for (const { variableDefinitions = [] } of definitions) {
    for (const definition of variableDefinitions) variables.set(definition.variable.name.value, definition);
  }
  const [first] = operations as [SubgraphOperation];
  const [{ name }] = definitions as [OperationDefinitionNode];
  const document: DocumentNode = {
    kind: Kind.DOCUMENT,
    definitions: [
      {
        ...(definitions[0] as OperationDefinitionNode),
        variableDefinitions: [...variables.values()],
        selectionSet: {
          kind: Kind.SELECTION_SET,
          selections: definitions.flatMap(({ selectionSet }) => selectionSet.selections),
        },
      },
    ],
  };
  const text = stripIgnoredCharacters(print(document));
  const usages = [...new Set(operations.flatMap((operation) => operation.usages))];
  return {
    ...first,
    id: 0,
    text,
    start: startOf(text, name?.value),
    usages,
    contextual: [],
    cache: null,
    cacheKey: '',
  };
}

function numbered({ text, contextual }: SubgraphOperation, i: number): OperationDefinitionNode {
  const own = new Set(['representations', ...contextual]);
  const document = visit(parse(text, { noLocation: true }), {
    Variable: (variable) =>
      own.has(variable.name.value)
        ? { ...variable, name: { ...variable.name, value: `${variable.name.value}_${i}` } }
        : undefined,
    Field: (field) =>
      field.name.value === '_entities' ? { ...field, alias: { kind: Kind.NAME as const, value: `_${i}` } } : undefined,
  });
  return document.definitions[0] as OperationDefinitionNode;
}

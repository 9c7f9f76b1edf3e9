import { createHash } from 'node:crypto';
import { Kind, type OperationDefinitionNode, parse, type SelectionSetNode } from 'graphql';
import { LRUCache } from 'lru-cache';
import type { CachePlan, CachePolicy } from '../cache/index.js';
import type { FetchNode } from '../planning/index.js';

const MAX_OPERATIONS = 10_000;
/** Bound on what a cache of operations holds, in characters. */
const MAX_WEIGHT = 8_000_000;
const OVERHEAD = 500;

/** The operation of a fetch in a plan, in the form that a subgraph is sent. */
export interface SubgraphOperation {
  /**
   * A hash of the subgraph's name and the operation without a name. It identifies the operation in every cache, batch and in-flight
   * fetch, in every process; the client's operation name and the number of the fetch are no part of it.
   */
  readonly id: string;
  readonly subgraph: string;
  /** Without a name. */
  readonly text: string;
  /** The plan's operation without a name, where the text selects more for the cache. */
  readonly planned?: string;
  /** The request's body, up to the value of "variables". */
  readonly start: string;
  /** The client's variables that it uses. */
  readonly usages: readonly string[];
  /** Its own variables besides `representations`: arguments from a context. */
  readonly contextual: readonly string[];
  /** Whether it is a query, which may be sent again. */
  readonly repeatable: boolean;
  /** How its result is cached; null when it is not. */
  readonly cache: CachePlan | null;
}

/** An LRU cache of operations, bounded by their number and by the memory that they hold. */
export function operationCache<T extends SubgraphOperation>(max: number): LRUCache<string, T> {
  return new LRUCache({
    max,
    maxSize: MAX_WEIGHT,
    // The text, its part of the body, and the key.
    sizeCalculation: ({ text, planned = '' }, key) => 3 * text.length + planned.length + key.length + OVERHEAD,
  });
}

/** Converts the operations of plans to operations for subgraphs, each once. */
export class SubgraphOperations {
  readonly #policy: CachePolicy | null;
  readonly #operations = operationCache<SubgraphOperation>(MAX_OPERATIONS);

  /** @param policy null when nothing is cached */
  constructor(policy: CachePolicy | null) {
    this.#policy = policy;
  }

  of({
    serviceName: subgraph,
    operation: planned,
    operationKind,
    variableUsages,
    contextRewrites,
  }: FetchNode): SubgraphOperation {
    const contextual = [...new Set((contextRewrites ?? []).map(({ renameKeyTo }) => renameKeyTo))];
    const anonymous = withoutName(planned);
    const key = JSON.stringify([subgraph, anonymous]);
    let operation = this.#operations.get(key);
    if (!operation) {
      const cache = this.#policy?.planFor(subgraph, anonymous) ?? null;
      const text = cache ? withoutName(cache.text) : anonymous;
      operation = {
        ...identified(subgraph, text),
        ...(text !== anonymous && { planned: anonymous }),
        usages: (variableUsages ?? []).filter((name) => !contextual.includes(name)),
        contextual,
        repeatable: operationKind === 'query',
        cache,
      };
      this.#operations.set(key, operation);
    }
    return operation;
  }
}

/** Creates the parts of an operation that follow from its text, which has no name. */
export function identified(
  subgraph: string,
  text: string,
): Pick<SubgraphOperation, 'id' | 'subgraph' | 'text' | 'start'> {
  const id = createHash('sha256')
    .update(JSON.stringify([subgraph, text]))
    .digest('base64url');
  return { id, subgraph, text, start: `${JSON.stringify({ query: text }).slice(0, -1)},"variables":` };
}

/** A key made of an id of fixed length and a text. Keys of different parts differ, whatever is appended to them. */
export function keyOfParts(id: string, text: string): string {
  return `${id}${text.length} ${text}`;
}

/**
 * Writes the variables that an operation uses as JSON: the client's, then its own.
 *
 * @param own their names, and their values as JSON
 */
export function variablesOf(
  { usages }: SubgraphOperation,
  variables: Readonly<Record<string, unknown>>,
  own: readonly (readonly [name: string, value: string])[],
): string {
  const parts: string[] = [];
  for (const name of usages) {
    const value = variables[name];
    if (value !== undefined) parts.push(`"${name}":${JSON.stringify(value)}`);
  }
  for (const [name, value] of own) parts.push(`"${name}":${value}`);
  return `{${parts.join()}}`;
}

const KEYWORD = /^(query|mutation|subscription)(?:\s+[_A-Za-z]\w*)?/;

/** Removes the name of an operation, and writes it in the long form (`query{…}`, not `{…}`). */
export function withoutName(operation: string): string {
  return operation.startsWith('{') ? `query${operation}` : operation.replace(KEYWORD, '$1');
}

/** A field in the outermost selection of an operation, with its type condition; null when it has none. */
interface StartField {
  readonly name: string;
  readonly condition: string | null;
}

const startFields = new WeakMap<SubgraphOperation, readonly StartField[]>();

/**
 * Returns the response names that an operation selects: of its root type, or of the entities of a type. Only errors need them, so they are
 * read at the first error.
 *
 * @param isOf whether entities fall under a type condition
 */
export function selectedNames(operation: SubgraphOperation, isOf: (condition: string) => boolean): readonly string[] {
  let fields = startFields.get(operation);
  if (!fields) {
    fields = readStartFields(operation);
    startFields.set(operation, fields);
  }
  const names = fields.flatMap(({ name, condition }) => (condition === null || isOf(condition) ? [name] : []));
  return [...new Set(names)];
}

function readStartFields({ text, planned = text }: SubgraphOperation): StartField[] {
  const found: StartField[] = [];
  const read = ({ selections }: SelectionSetNode, condition: string | null) => {
    for (const selection of selections) {
      if (selection.kind === Kind.INLINE_FRAGMENT) {
        read(selection.selectionSet, selection.typeCondition?.name.value ?? condition);
      } else if (selection.kind === Kind.FIELD) {
        const { name, alias, selectionSet } = selection;
        if (name.value === '_entities' && selectionSet) read(selectionSet, condition);
        else if (name.value !== '__typename') found.push({ name: (alias ?? name).value, condition });
      }
    }
  };
  read(definitionOf(planned).selectionSet, null);
  return found;
}

export function definitionOf(text: string): OperationDefinitionNode {
  return parse(text, { noLocation: true }).definitions[0] as OperationDefinitionNode;
}

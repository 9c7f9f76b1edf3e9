import { createHash } from 'node:crypto';
import {
  type DocumentNode,
  Kind,
  type OperationDefinitionNode,
  parse,
  print,
  type SelectionSetNode,
  stripIgnoredCharacters,
  type VariableDefinitionNode,
  visit,
} from 'graphql';
import { LRUCache } from 'lru-cache';
import type { CachePlan, CachePolicy } from '../cache/index.js';
import type { FetchNode } from '../planning/index.js';

const MAX_OPERATIONS = 10_000;
/** Bound on what a cache of operations holds, in characters. */
const MAX_WEIGHT = 8_000_000;
const OVERHEAD = 500;

/** An operation of a plan, as a subgraph is sent it. */
export interface SubgraphOperation {
  /**
   * A hash of the subgraph's name and the operation without a name. It identifies the operation in every cache, batch and in-flight
   * fetch, in every process; the client's operation name and the number of the fetch are no part of it.
   */
  readonly id: string;
  readonly subgraph: string;
  /** Without a name. */
  readonly text: string;
  /** The same as the plan has it, where the text selects more, for the cache. */
  readonly planned?: string;
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
}

/** Several entity operations merged into one. */
export interface ComposedOperation extends SubgraphOperation {
  /** For each of them: what its own variables are called in the merged operation. */
  readonly variableNames: readonly ReadonlyMap<string, string>[];
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

/** Makes a plan's operations into operations for subgraphs, each once. */
export class SubgraphOperations {
  readonly #policy: CachePolicy | null;
  readonly #known = operationCache<SubgraphOperation>(MAX_OPERATIONS);

  /** @param policy null: nothing is cached */
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
    let operation = this.#known.get(key);
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
      this.#known.set(key, operation);
    }
    return operation;
  }
}

/** What follows from the text of an operation without a name. */
function identified(subgraph: string, text: string): Pick<SubgraphOperation, 'id' | 'subgraph' | 'text' | 'start'> {
  const id = createHash('sha256')
    .update(JSON.stringify([subgraph, text]))
    .digest('base64url');
  return { id, subgraph, text, start: `${JSON.stringify({ query: text }).slice(0, -1)},"variables":` };
}

const KEYWORD = /^(query|mutation|subscription)(?:\s+[_A-Za-z]\w*)?/;

/** An operation in its longer form (`query{…}`, not `{…}`), without its name. */
function withoutName(operation: string): string {
  return operation.startsWith('{') ? `query${operation}` : operation.replace(KEYWORD, '$1');
}

/** A field that an operation selects where a fetch starts, with the type condition that it is under; null: none. */
interface StartField {
  readonly name: string;
  readonly condition: string | null;
}

const startFields = new WeakMap<SubgraphOperation, readonly StartField[]>();

/**
 * The response names of what an operation selects: of its root, or of the entities of a type. Only errors need them, so they are read
 * with the first error.
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

function definitionOf(text: string): OperationDefinitionNode {
  return parse(text, { noLocation: true }).definitions[0] as OperationDefinitionNode;
}

/**
 * Several operations that ask for entities as one: the `i`th answers under the name `_i`, with variables of its own for its
 * representations (`representations_i`) and contexts; the client's variables are the same for all, whatever they are called.
 */
export function compose(operations: readonly SubgraphOperation[]): ComposedOperation {
  const usages = [...new Set(operations.flatMap((operation) => operation.usages))];
  const taken = new Set(usages);
  const variableNames = operations.map(
    ({ contextual }, i) =>
      new Map(
        ['representations', ...contextual].map((own) => {
          let name = `${own}_${i}`;
          while (taken.has(name)) name += '_';
          taken.add(name);
          return [own, name];
        }),
      ),
  );
  const definitions = operations.map(({ text }, i) => numbered(text, i, variableNames[i] as Map<string, string>));
  const variables = new Map<string, VariableDefinitionNode>();
  for (const { variableDefinitions = [] } of definitions) {
    for (const definition of variableDefinitions) variables.set(definition.variable.name.value, definition);
  }
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
  const [{ subgraph }] = operations as [SubgraphOperation];
  return {
    ...identified(subgraph, withoutName(stripIgnoredCharacters(print(document)))),
    usages,
    contextual: [],
    repeatable: true,
    cache: null,
    variableNames,
  };
}

function numbered(text: string, i: number, variableNames: ReadonlyMap<string, string>): OperationDefinitionNode {
  return visit(definitionOf(text), {
    Variable: (variable) => {
      const name = variableNames.get(variable.name.value);
      return name === undefined ? undefined : { ...variable, name: { ...variable.name, value: name } };
    },
    Field: (field) =>
      field.name.value === '_entities' ? { ...field, alias: { kind: Kind.NAME as const, value: `_${i}` } } : undefined,
  });
}

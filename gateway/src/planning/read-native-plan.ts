import type {
  BatchFetchNode,
  EntityBatchAlias,
  FetchNode as NativeFetchNode,
  PlanNode as NativePlanNode,
  QueryPlan as NativeQueryPlan,
} from '@graphql-hive/router-query-planner';
import {
  type FieldNode,
  type GraphQLSchema,
  Kind,
  type OperationDefinitionNode,
  OperationTypeNode,
  print,
  stripIgnoredCharacters,
  visit,
} from 'graphql';
import { type Literals, withLiterals } from './literals.js';
import type { FetchNode, PlanNode, PlanPath, QueryPlan, RequiredSelection, Rewrite } from './query-plan.js';
import { simplifiedOperation } from './simplify-operation.js';

/** The variable of an entity fetch for its representations. */
const REPRESENTATIONS = 'representations';

/**
 * Reads a plan of the native planner: its paths, rewrites and operations in the form of ours, and its batches as entity fetches that start
 * together, which the executor sends as one.
 *
 * @param schema the types of the supergraph
 * @param literals the literals for which variables stood in the operation
 */
export function readNativePlan({ node }: NativeQueryPlan, schema: GraphQLSchema, literals: Literals): QueryPlan {
  const read: ReadOperation = (text) => withLiterals(simplifiedOperation(text, schema), literals);
  return { kind: 'QueryPlan', node: node && readNode(node, read) };
}

type ReadOperation = (text: string) => OperationDefinitionNode;

function readNode(node: NativePlanNode, read: ReadOperation): PlanNode {
  switch (node.kind) {
    case 'Fetch':
      return readFetch(node, read);
    case 'BatchFetch':
      return readBatch(node, read);
    case 'Flatten':
      return { kind: 'Flatten', path: readPath(node.path), node: readNode(node.node, read) };
    case 'Sequence':
    case 'Parallel':
      return { kind: node.kind, nodes: node.nodes.map((each) => readNode(each, read)) };
    default:
      // The document that is planned has no conditions, no @defer, and is no subscription.
      throw new Error(`The native planner returned a ${node.kind} node.`);
  }
}

function readFetch(
  { serviceName, operation: text, operationKind, ...rest }: NativeFetchNode,
  read: ReadOperation,
): FetchNode {
  const operation = read(text);
  return {
    kind: 'Fetch',
    serviceName,
    operation: textOf(operation),
    operationName: undefined,
    operationKind: (operationKind ?? 'query') as OperationTypeNode,
    variableUsages: variablesOf(operation).filter((name) => !rest.requires || name !== REPRESENTATIONS),
    ...(rest.requires && readRequires(rest.requires, rest.inputRewrites)),
    ...(rest.outputRewrites && { outputRewrites: readRewrites(rest.outputRewrites) }),
  };
}

/** Each alias of a batch is an entity fetch at one or several paths. The planner lists what the operation selects first last. */
function readBatch(node: BatchFetchNode, read: ReadOperation): PlanNode {
  const definition = read(node.operation);
  const nodes = node.entityBatch.aliases.toReversed().flatMap((alias) => {
    const fetch = readAlias(node, alias, definition);
    return alias.paths.toReversed().map((path): PlanNode => ({ kind: 'Flatten', path: readPath(path), node: fetch }));
  });
  return nodes.length === 1 ? (nodes[0] as PlanNode) : { kind: 'Parallel', nodes };
}

function readAlias(
  { serviceName }: BatchFetchNode,
  { alias, representationsVariableName, requires, inputRewrites, outputRewrites }: EntityBatchAlias,
  { variableDefinitions = [], selectionSet }: OperationDefinitionNode,
): FetchNode {
  const field = selectionSet.selections.find(
    (selection): selection is FieldNode => selection.kind === Kind.FIELD && selection.alias?.value === alias,
  );
  if (!field) throw new Error(`The native planner returned a batch without its alias ${alias}.`);
  const used = new Set<string>();
  visit(field, { Variable: ({ name }) => void used.add(name.value) });
  const own = { kind: Kind.NAME as const, value: REPRESENTATIONS };
  const isOwn = (name: string) => name === representationsVariableName;
  const operation: OperationDefinitionNode = {
    kind: Kind.OPERATION_DEFINITION,
    operation: OperationTypeNode.QUERY,
    variableDefinitions: variableDefinitions.filter(({ variable }) => used.has(variable.name.value)),
    selectionSet: { kind: Kind.SELECTION_SET, selections: [{ ...field, alias: undefined }] },
  };
  const renamed = visit(operation, {
    Variable: (variable) => (isOwn(variable.name.value) ? { ...variable, name: own } : undefined),
  });
  return {
    kind: 'Fetch',
    serviceName,
    operation: textOf(renamed),
    operationName: undefined,
    operationKind: OperationTypeNode.QUERY,
    variableUsages: [...used].filter((name) => !isOwn(name)),
    ...readRequires(requires, inputRewrites),
    ...(outputRewrites && { outputRewrites: readRewrites(outputRewrites) }),
  };
}

function variablesOf({ variableDefinitions = [] }: OperationDefinitionNode): string[] {
  return variableDefinitions.map(({ variable }) => variable.name.value);
}

function textOf(operation: OperationDefinitionNode): string {
  return stripIgnoredCharacters(print(operation));
}

type NativeRequires = NonNullable<NativeFetchNode['requires']>;

/**
 * Reads the fields of representations. An alias of the native plan is the name of the field in the representation, and its name is the
 * alias under which it was fetched, for example with other arguments than the client's: it becomes a rewrite.
 */
function readRequires(
  requires: NativeRequires,
  inputRewrites: readonly NativeRewrite[] | null | undefined,
): Pick<FetchNode, 'requires' | 'inputRewrites'> {
  const renames: Rewrite[] = [];
  const read = (selections: NativeRequires, path: readonly string[]): RequiredSelection[] =>
    selections.map((selection) => {
      if (selection.kind === 'InlineFragment') {
        const { typeCondition } = selection;
        const inner = typeCondition ? [...path, `... on ${typeCondition}`] : path;
        return { kind: 'InlineFragment', typeCondition, selections: read(selection.selections, inner) };
      }
      if (selection.kind !== 'Field') throw new Error('The native planner returned a representation with a fragment.');
      const { name, alias, selections: below } = selection;
      // Rewrites run in order: those of inner fields come first.
      const inner = below && read(below, [...path, name]);
      if (alias && alias !== name) renames.push({ kind: 'KeyRenamer', path: [...path, name], renameKeyTo: alias });
      return { kind: 'Field', name, ...(inner && { selections: inner }) };
    });
  const selections = read(requires, []);
  // Before the rewrites of the plan, which may change the types that the paths name.
  const rewrites = [...renames, ...(inputRewrites ? readRewrites(inputRewrites) : [])];
  return { requires: selections, ...(rewrites.length > 0 && { inputRewrites: rewrites }) };
}

function readPath(path: EntityBatchAlias['paths'][number]): PlanPath {
  return path.map((segment) => {
    if (typeof segment === 'string') return segment;
    return 'Field' in segment ? segment.Field : `|[${segment.TypeCondition.join(',')}]`;
  });
}

type NativeRewrite = NonNullable<NativeFetchNode['inputRewrites']>[number];

/** A rewrite for several types becomes one for each. */
function readRewrites(rewrites: readonly NativeRewrite[]): Rewrite[] {
  return rewrites.flatMap((rewrite): Rewrite[] => {
    if ('KeyRenamer' in rewrite) {
      const { path, renameKeyTo } = rewrite.KeyRenamer;
      return readRewritePath(path).map((each) => ({ kind: 'KeyRenamer', path: each, renameKeyTo }));
    }
    const { path, setValueTo } = 'ValueSetter' in rewrite ? rewrite.ValueSetter : rewrite;
    return readRewritePath(path).map((each) => ({ kind: 'ValueSetter', path: each, setValueTo }));
  });
}

type RewritePath = Extract<NativeRewrite, { ValueSetter: unknown }>['ValueSetter']['path'];

function readRewritePath(path: RewritePath): string[][] {
  return path.reduce<string[][]>(
    (paths, segment) => {
      const steps = 'Key' in segment ? [segment.Key] : segment.TypenameEquals.map((type) => `... on ${type}`);
      return paths.flatMap((start) => steps.map((step) => [...start, step]));
    },
    [[]],
  );
}

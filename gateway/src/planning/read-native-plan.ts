import type {
  BatchFetchNode,
  EntityBatchAlias,
  FetchNode as NativeFetchNode,
  PlanNode as NativePlanNode,
  QueryPlan as NativeQueryPlan,
} from '@graphql-hive/router-query-planner';
import {
  type DocumentNode,
  type FieldNode,
  type FragmentDefinitionNode,
  Kind,
  type OperationDefinitionNode,
  OperationTypeNode,
  parse,
  print,
  type SelectionNode,
  stripIgnoredCharacters,
  visit,
} from 'graphql';
import type { FetchNode, PlanNode, PlanPath, QueryPlan, RequiredSelection, Rewrite } from './query-plan.js';

/** Reads a plan of the native planner: its paths and rewrites in the form of ours, and its batches as entity fetches that start together. */
export function readNativePlan({ node }: NativeQueryPlan): QueryPlan {
  return { kind: 'QueryPlan', node: node && readNode(node) };
}

function readNode(node: NativePlanNode): PlanNode {
  switch (node.kind) {
    case 'Fetch':
      return readFetch(node);
    case 'BatchFetch':
      return readBatch(node);
    case 'Flatten':
      return { kind: 'Flatten', path: readPath(node.path), node: readNode(node.node) };
    case 'Sequence':
    case 'Parallel':
      return { kind: node.kind, nodes: node.nodes.map(readNode) };
    default:
      // The document that is planned has no conditions, no @defer, and is no subscription.
      throw new Error(`The native planner returned a ${node.kind} node.`);
  }
}

function readFetch({ serviceName, operation, operationKind, variableUsages, ...rest }: NativeFetchNode): FetchNode {
  return {
    kind: 'Fetch',
    serviceName,
    operation: withoutFragments(operation),
    operationName: undefined,
    operationKind: (operationKind ?? 'query') as OperationTypeNode,
    ...(variableUsages && { variableUsages }),
    ...(rest.requires && { requires: rest.requires as readonly RequiredSelection[] }),
    ...(rest.inputRewrites && { inputRewrites: readRewrites(rest.inputRewrites) }),
    ...(rest.outputRewrites && { outputRewrites: readRewrites(rest.outputRewrites) }),
  };
}

/** Each alias of a batch is an entity fetch at one or several paths. */
function readBatch(node: BatchFetchNode): PlanNode {
  const document = parse(withoutFragments(node.operation), { noLocation: true });
  const [definition] = document.definitions as [OperationDefinitionNode];
  const nodes = node.entityBatch.aliases.flatMap((alias) => {
    const fetch = readAlias(node, alias, definition);
    return alias.paths.map((path): PlanNode => ({ kind: 'Flatten', path: readPath(path), node: fetch }));
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
  const own = { kind: Kind.NAME as const, value: 'representations' };
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
    operation: stripIgnoredCharacters(print(renamed)),
    operationName: undefined,
    operationKind: OperationTypeNode.QUERY,
    variableUsages: [...used].filter((name) => !isOwn(name)),
    requires: requires as readonly RequiredSelection[],
    ...(inputRewrites && { inputRewrites: readRewrites(inputRewrites) }),
    ...(outputRewrites && { outputRewrites: readRewrites(outputRewrites) }),
  };
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

/** Replaces the spreads of fragments in an operation, which the planner writes for selections that repeat. */
function withoutFragments(operation: string): string {
  if (!operation.includes('fragment ')) return operation;
  const document = parse(operation, { noLocation: true });
  const fragments = new Map<string, FragmentDefinitionNode>();
  for (const definition of document.definitions) {
    if (definition.kind === Kind.FRAGMENT_DEFINITION) fragments.set(definition.name.value, definition);
  }
  if (fragments.size === 0) return operation;
  const inline = (selection: SelectionNode): SelectionNode => {
    if (selection.kind !== Kind.FRAGMENT_SPREAD) return selection;
    const { typeCondition, selectionSet } = fragments.get(selection.name.value) as FragmentDefinitionNode;
    return { kind: Kind.INLINE_FRAGMENT, typeCondition, directives: selection.directives, selectionSet };
  };
  const inlined: DocumentNode = visit(
    { ...document, definitions: document.definitions.filter(({ kind }) => kind === Kind.OPERATION_DEFINITION) },
    { SelectionSet: (selectionSet) => ({ ...selectionSet, selections: selectionSet.selections.map(inline) }) },
  );
  return stripIgnoredCharacters(print(inlined));
}

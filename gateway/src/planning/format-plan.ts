import { type DocumentNode, Kind, parse, print, type SelectionSetNode } from 'graphql';
import type { DeferNode, FetchNode, PlanNode, QueryPlan, RequiredSelection } from './query-plan.js';

/** Formats a plan for people: its nodes, and the operations of its fetches, indented. */
export function formatPlan({ node }: QueryPlan): string {
  return block('QueryPlan', node ? [node] : []).join('\n');
}

/** The lines of a node that has others in it: each ends with a comma. */
function block(head: string, nodes: readonly PlanNode[]): string[] {
  if (nodes.length === 0) return [`${head} {}`];
  return [`${head} {`, ...indented(nodes.flatMap((node) => withComma(linesOf(node)))), '}'];
}

function linesOf(node: PlanNode): string[] {
  switch (node.kind) {
    case 'Fetch':
      return fetchLines(node);
    case 'Flatten':
      return block(`Flatten(path: "${node.path.join('.')}")`, [node.node]);
    case 'Sequence':
    case 'Parallel':
      return block(node.kind, node.nodes);
    case 'Condition': {
      const { condition, ifClause, elseClause } = node;
      if (ifClause && elseClause) {
        const branches = ['Then {', ...indented(linesOf(ifClause)), '} Else {', ...indented(linesOf(elseClause)), '}'];
        return [`Condition(if: $${condition}) {`, ...indented(branches), '}'];
      }
      const [head, only] = ifClause ? ['Include', ifClause] : ['Skip', elseClause];
      return [`${head}(if: $${condition}) {`, ...indented(only ? linesOf(only) : []), '}'];
    }
    case 'Defer':
      return deferLines(node);
  }
}

function fetchLines({ serviceName, requires, operation }: FetchNode): string[] {
  const lines = requires ? withSuffix(selectionLines(requires), ' =>') : [];
  return [`Fetch(service: "${serviceName}") {`, ...indented([...lines, ...operationLines(operation)]), '}'];
}

function deferLines({ primary, deferred }: DeferNode): string[] {
  const parts = deferred.flatMap(({ depends, label, queryPath, subselection, node }) => {
    const ids = depends.map(({ id, deferLabel }) => id + (deferLabel ? `:"${deferLabel}"` : '')).join(', ');
    const named = label ? `, label: "${label}"` : '';
    const selected = subselection ? withSuffix(operationLines(subselection), ':') : [];
    const inner = [...selected, ...(node ? linesOf(node) : [])];
    return [`Deferred(depends: [${ids}], path: "${queryPath.join('/')}"${named}) {`, ...indented(inner), '},'];
  });
  const first = [
    ...withSuffix(primary.subselection ? operationLines(primary.subselection) : [''], ':'),
    ...(primary.node ? linesOf(primary.node) : []),
  ];
  return ['Defer {', ...indented(['Primary {', ...indented(first), '}, [', ...indented(parts), ']']), '}'];
}

/** The selections of an operation; of an entity fetch, those of its entities. */
function operationLines(operation: string): string[] {
  const { definitions }: DocumentNode = parse(operation, { noLocation: true });
  const shown = definitions.map((definition) => {
    if (definition.kind !== Kind.OPERATION_DEFINITION) return definition;
    const [first] = definition.selectionSet.selections;
    const isEntities = first?.kind === Kind.FIELD && first.name.value === '_entities';
    return isEntities ? (first.selectionSet as SelectionSetNode) : definition.selectionSet;
  });
  return shown.map(print).join('\n\n').split('\n');
}

function selectionLines(selections: readonly RequiredSelection[]): string[] {
  const lines = selections.flatMap((selection) => {
    const { kind, selections: inner = [] } = selection;
    const condition = kind === 'InlineFragment' ? selection.typeCondition : undefined;
    const head = kind === 'Field' ? selection.name : condition ? `... on ${condition}` : '...';
    return inner.length === 0 ? [head] : withPrefix(`${head} `, selectionLines(inner));
  });
  return ['{', ...indented(lines), '}'];
}

const indented = (lines: readonly string[]) => lines.map((line) => (line === '' ? line : `  ${line}`));
const withPrefix = (prefix: string, [first = '', ...rest]: readonly string[]) => [`${prefix}${first}`, ...rest];
const withSuffix = (lines: readonly string[], suffix: string) => [...lines.slice(0, -1), `${lines.at(-1)}${suffix}`];
const withComma = (lines: readonly string[]) => withSuffix(lines, ',');

import { parse, print } from 'graphql';
import type { FetchNode, PlanNode, PlanPath, QueryPlan } from '../planning/index.js';
import { withoutRootCondition } from './root-condition.js';
import { SubgraphOperations } from './subgraph-operation.js';

/** A fetch of a plan, as it is sent without a cache. */
export interface PlannedFetch {
  /** Its number in the plan, from 1. */
  readonly number: number;
  readonly subgraph: string;
  readonly kind: 'root' | 'entity';
  /** Where its data is merged in the response; `@` stands for the items of a list. */
  readonly path: PlanPath;
  /** The fetches that end just before it starts; those that they follow are left out. */
  readonly after: readonly number[];
  /** The operation that the subgraph is sent, formatted. */
  readonly operation: string;
  /** The variables of the planned operation that it uses. */
  readonly variables: readonly string[];
}

/** Lists the fetches of a plan, in its order. */
export function plannedFetches({ node }: QueryPlan): PlannedFetch[] {
  const fetches: PlannedFetch[] = [];
  const operations = new SubgraphOperations(null);

  /** Adds the fetches of a node. @returns the numbers of those that end last */
  const add = (at: PlanNode, path: PlanPath, after: readonly number[]): readonly number[] => {
    switch (at.kind) {
      case 'Fetch': {
        const number = fetches.length + 1;
        const { subgraph, text, usages } = operations.of(sentBy(at));
        const kind = at.requires ? 'entity' : 'root';
        fetches.push({ number, subgraph, kind, path, after, operation: print(parse(text)), variables: usages });
        return [number];
      }
      case 'Flatten':
        return add(at.node, [...path, ...at.path], after);
      case 'Sequence':
        return at.nodes.reduce((before, next) => add(next, path, before), after);
      case 'Parallel': {
        const last = at.nodes.flatMap((each) => add(each, path, after));
        return last.length > 0 ? [...new Set(last)] : after;
      }
      default:
        // Conditions are evaluated and @defer is removed before planning.
        throw new Error(`A plan with a ${at.kind} node cannot be run.`);
    }
  };

  if (node) add(node, [], []);
  return fetches;
}

const sentBy = (node: FetchNode) => (node.requires ? node : withoutRootCondition(node));

import { ApiError, type ErrorReason } from '@tributary/server';
import { type DocumentNode, type FragmentDefinitionNode, Kind, type SelectionSetNode, visit } from 'graphql';

/** How large an operation may be. */
export interface OperationLimits {
  /** Tokens of the document: names, punctuation, values. */
  readonly tokens: number;
  /** How deep fields may be in each other. */
  readonly depth: number;
  readonly aliases: number;
  /** Fields, each fragment counted wherever it is spread. */
  readonly fields: number;
}

/** How often one name may be asked for beside itself: validation compares each with each. */
const MAX_REPEATED = 100;

interface Extent {
  readonly depth: number;
  readonly fields: number;
}

/**
 * The time it takes grows only with the document.
 *
 * @returns how many fields there are, each fragment counted wherever it is spread
 * @throws ApiError COST_LIMIT when a document is larger than it may be
 */
export function checkLimits(document: DocumentNode, limits: OperationLimits): number {
  let aliases = 0;
  visit(document, {
    Field(field) {
      if (field.alias) aliases += 1;
    },
  });
  refuseAbove(aliases, limits.aliases, 'aliases', 'ALIASES');

  const fragments = new Map<string, FragmentDefinitionNode>();
  for (const definition of document.definitions) {
    if (definition.kind === Kind.FRAGMENT_DEFINITION) fragments.set(definition.name.value, definition);
  }
  const known = new Map<string, Extent>();
  const extentOf = ({ selections }: SelectionSetNode): Extent => {
    let depth = 0;
    let fields = 0;
    const repeated = new Map<string, number>();
    const add = (extent: Extent) => {
      depth = Math.max(depth, extent.depth);
      fields += extent.fields;
    };
    for (const selection of selections) {
      if (selection.kind === Kind.FIELD) {
        const name = (selection.alias ?? selection.name).value;
        repeated.set(name, (repeated.get(name) ?? 0) + 1);
        refuseAbove(repeated.get(name) ?? 0, MAX_REPEATED, `fields "${name}" beside each other`, 'REPEATED_FIELDS');
        const below = selection.selectionSet ? extentOf(selection.selectionSet) : { depth: 0, fields: 0 };
        add({ depth: below.depth + 1, fields: below.fields + 1 });
      } else if (selection.kind === Kind.INLINE_FRAGMENT) add(extentOf(selection.selectionSet));
      else add(fragmentExtent(selection.name.value));
    }
    return { depth, fields };
  };
  const fragmentExtent = (name: string): Extent => {
    const extent = known.get(name);
    if (extent) return extent;
    // While it is worked out, a fragment that spreads itself (which validation refuses) counts as nothing.
    known.set(name, { depth: 0, fields: 0 });
    const fragment = fragments.get(name);
    const worked = fragment ? extentOf(fragment.selectionSet) : { depth: 0, fields: 0 };
    known.set(name, worked);
    return worked;
  };
  let all = 0;
  for (const definition of document.definitions) {
    if (definition.kind !== Kind.OPERATION_DEFINITION) continue;
    const { depth, fields } = extentOf(definition.selectionSet);
    all += fields;
    refuseAbove(depth, limits.depth, 'levels of fields', 'DEPTH');
    refuseAbove(fields, limits.fields, 'fields', 'FIELDS');
  }
  return all;
}

function refuseAbove(found: number, limit: number, what: string, reason: ErrorReason<'COST_LIMIT'>): void {
  if (found <= limit) return;
  throw new ApiError('COST_LIMIT', `The operation has ${found} ${what}; expected at most ${limit}.`, { reason });
}

import { ApiError, type ErrorReason } from '@tributary/server';
import { type DocumentNode, type FragmentDefinitionNode, Kind, type SelectionSetNode, visit } from 'graphql';
import type { GatewayPlugin } from '../runtime/index.js';

/** How large a document may be. */
export interface OperationLimits {
  /** How deep fields may be nested. */
  readonly depth: number;
  readonly aliases: number;
  /** Fields, each fragment counted wherever it is spread. */
  readonly fields: number;
}

/** How often one response name may occur in a selection set: validation compares each pair. */
const MAX_REPEATED = 100;

interface Extent {
  readonly depth: number;
  readonly fields: number;
}

/** Refuses documents that are too large with COST_LIMIT, before they are validated and planned. */
export function operationLimits(limits: OperationLimits): GatewayPlugin {
  return {
    name: 'operation-limits',
    onParse({ document }) {
      try {
        checkLimits(document, limits);
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
        throw new ApiError('COST_LIMIT', 'The document is nested too deeply.', { reason: 'DEPTH' });
      }
    },
  };
}

/**
 * Checks a document in time linear in its length.
 *
 * @throws ApiError COST_LIMIT when the document exceeds a limit, RangeError when it is nested deeper than the stack allows
 */
function checkLimits(document: DocumentNode, limits: OperationLimits): void {
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
  const extents = new Map<string, Extent>();
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
    const extent = extents.get(name);
    if (extent) return extent;
    // While it is worked out, a fragment that spreads itself (which validation refuses) counts as nothing.
    extents.set(name, { depth: 0, fields: 0 });
    const fragment = fragments.get(name);
    const worked = fragment ? extentOf(fragment.selectionSet) : { depth: 0, fields: 0 };
    extents.set(name, worked);
    return worked;
  };
  for (const definition of document.definitions) {
    if (definition.kind !== Kind.OPERATION_DEFINITION) continue;
    const { depth, fields } = extentOf(definition.selectionSet);
    refuseAbove(depth, limits.depth, 'levels of fields', 'DEPTH');
    refuseAbove(fields, limits.fields, 'fields', 'FIELDS');
  }
}

function refuseAbove(found: number, limit: number, what: string, reason: ErrorReason<'COST_LIMIT'>): void {
  if (found <= limit) return;
  throw new ApiError('COST_LIMIT', `The operation has ${found} ${what}; expected at most ${limit}.`, { reason });
}

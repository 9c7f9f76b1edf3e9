import type { OperationDefinitionNode } from 'graphql';
import type { Operation } from './document-cache.js';

// Estimates of heap, in bytes. Measured with Node 20 over operations of 2 to 1,000 fields, with fragments, literals and variants:
// the heap that is taken is 0.75 to 1.25 times what they say.

const DOCUMENT_BYTES = 500;
const OPERATION_BYTES = 4000;
/** For each character of a normalized operation as JSON: its nodes, and its fields under names that do not collide. */
const BYTES_PER_CHARACTER = 2;
const VARIANT_BYTES = 4000;
/** For each field, fragments spread: the compiled writer and completer. */
const BYTES_PER_FIELD = 700;
/** For each character of a plan as JSON: its nodes and what is compiled of them. */
const BYTES_PER_PLAN_CHARACTER = 4;

/** What a client's document takes: its text twice (in the cache's key and for the locations of errors), and its literals. */
export function documentWeight(
  key: string,
  { variableDefinitions = [] }: OperationDefinitionNode,
  literals: Readonly<Record<string, unknown>>,
): number {
  return (
    DOCUMENT_BYTES + 2 * key.length + 2 * JSON.stringify(literals).length + DOCUMENT_BYTES * variableDefinitions.length
  );
}

/** @param size the length of the normalized operation as JSON */
export function operationWeight(size: number): number {
  return OPERATION_BYTES + BYTES_PER_CHARACTER * size;
}

/** @param plan its nodes, as JSON values */
export function planWeight({ node }: { readonly node?: unknown }): number {
  return node ? BYTES_PER_PLAN_CHARACTER * JSON.stringify(node).length : 0;
}

/** What is kept of an operation for certain conditions: a plan, and the authoritative one beside it. */
export interface Weighed {
  readonly planWeight: number;
  readonly owners?: { readonly planWeight: number } | null;
}

/** What an operation takes with its variants and their plans. */
export function weightOf({ weight, fields, variants }: Operation): number {
  let sum = weight;
  for (const variant of variants.values()) sum += variantWeight(variant, fields);
  return sum;
}

function variantWeight({ planWeight: own, owners }: Weighed, fields: number): number {
  return VARIANT_BYTES + BYTES_PER_FIELD * fields + own + (owners?.planWeight ?? 0);
}

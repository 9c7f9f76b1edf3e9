import type { OperationDefinitionNode } from 'graphql';
import type { Operation } from './operation.js';

// Estimates of heap, in bytes. Measured with Node 20 over operations of 2 to 1,000 fields, with fragments, literals and conditions, the
// heap used is 0.75 to 1.25 times the estimate.

const DOCUMENT_BYTES = 500;
const OPERATION_BYTES = 4000;
/** For each character of a normalized operation as JSON: its nodes, and their copies with renamed fields. */
const BYTES_PER_CHARACTER = 2;
const PREPARED_BYTES = 4000;
/** For each field, counted wherever its fragment is spread: the compiled writer and completer. */
const BYTES_PER_FIELD = 700;

/** Estimates a client's document: its text twice (in the cache's key and for the locations of errors), and its literals. */
export function documentWeight(
  key: string,
  { variableDefinitions = [] }: OperationDefinitionNode,
  literals: Readonly<Record<string, unknown>>,
): number {
  return (
    DOCUMENT_BYTES + 2 * key.length + 2 * JSON.stringify(literals).length + DOCUMENT_BYTES * variableDefinitions.length
  );
}

/** Estimates an operation without its prepared operations. @param size the length of the normalized operation as JSON */
export function operationWeight(size: number): number {
  return OPERATION_BYTES + BYTES_PER_CHARACTER * size;
}

/** Estimates an operation with all its prepared operations. */
export function weightOf({ weight, fields, prepared }: Operation): number {
  let sum = weight;
  for (const { planWeight } of prepared.values()) sum += PREPARED_BYTES + BYTES_PER_FIELD * fields + planWeight;
  return sum;
}

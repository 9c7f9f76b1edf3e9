import { isWellFormed } from './unicode.js';

/** The deepest nesting of objects and lists in a JSON value that is stored. */
export const MAX_JSON_DEPTH = 32;

/** Why a JSON value is refused. */
export interface JsonFault {
  readonly reason: 'TOO_DEEP' | 'CHARACTER' | 'NUMBER';
  /** Keys and indexes from the outermost value to the fault. */
  readonly path: readonly (string | number)[];
  /** The end of a sentence that begins with the value's name. */
  readonly problem: string;
}

/**
 * Finds the first reason to refuse a value that came from JSON: nesting below `maxDepth` levels, an unpaired surrogate (in a
 * key, too), a NUL unless it is allowed (PostgreSQL cannot store one), or a number beyond a double's range (which `JSON.parse`
 * turns into Infinity). The recursion ends at `maxDepth`.
 */
export function findJsonFault(value: unknown, maxDepth: number, { allowNul = false } = {}): JsonFault | null {
  const path: (string | number)[] = [];
  const fault = (reason: JsonFault['reason'], problem: string): JsonFault => ({ reason, problem, path: [...path] });
  const textFault = (text: string) => {
    if (!isWellFormed(text)) return fault('CHARACTER', 'contains an unpaired surrogate, which is no character');
    if (!allowNul && text.includes('\0')) return fault('CHARACTER', 'contains a NUL character, which cannot be stored');
    return null;
  };

  const visit = (part: unknown, depth: number): JsonFault | null => {
    if (typeof part === 'string') return textFault(part);
    if (typeof part === 'number')
      return Number.isFinite(part) ? null : fault('NUMBER', 'contains a number out of range');
    if (typeof part !== 'object' || part === null) return null;
    if (depth === maxDepth) return fault('TOO_DEEP', `is nested more than ${maxDepth} levels deep`);
    for (const [key, member] of Array.isArray(part) ? part.entries() : Object.entries(part)) {
      path.push(key);
      const found = (typeof key === 'string' ? textFault(key) : null) ?? visit(member, depth + 1);
      if (found) return found;
      path.pop();
    }
    return null;
  };
  return visit(value, 0);
}

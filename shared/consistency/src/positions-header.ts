import type { Invalidations } from './invalidations.js';

/** The header in which a service reports the positions that its response includes. */
export const POSITIONS_HEADER = 'x-positions';
/** The header in which the gateway demands positions of a response. */
export const MIN_POSITIONS_HEADER = 'x-min-positions';

/** The header in which a service sends the invalidations of a mutation with its response. */
export const INVALIDATIONS_HEADER = 'x-invalidations';
/** The name of that header in the release before: services send both, gateways read either. */
export const FORMER_INVALIDATIONS_HEADER = 'x-touches';
/** Proxies limit the size of headers. Without this one, the invalidations arrive a little later over the event bus. */
const MAX_INVALIDATIONS_LENGTH = 4000;

/** How far a service's answer goes in a event log. */
export interface ReadPosition {
  readonly position: number;
  /** Of a copy: the milliseconds since it was last in sync with its owner; null in the owner's own response. */
  readonly ageMs: number | null;
}

/** Writes positions by the service that owns the event log: `orders=812,users=377:12`. */
export function writePositions(positions: ReadonlyMap<string, ReadPosition>): string {
  return [...positions]
    .map(([source, { position, ageMs }]) => `${source}=${position}${ageMs === null ? '' : `:${ageMs}`}`)
    .join();
}

/** Entries that are malformed are left out. */
export function readPositions(text: string): Map<string, ReadPosition> {
  const positions = new Map<string, ReadPosition>();
  for (const part of text.split(',')) {
    const [, source, position, age] = /^\s*([\w-]{1,64})=(\d{1,15})(?::(\d{1,15}))?\s*$/.exec(part) ?? [];
    if (source) positions.set(source, { position: Number(position), ageMs: age === undefined ? null : Number(age) });
  }
  return positions;
}

/** @returns null when the invalidations are too large for a header */
export function writeInvalidations(invalidations: Invalidations): string | null {
  const text = Buffer.from(JSON.stringify(invalidations)).toString('base64url');
  return text.length > MAX_INVALIDATIONS_LENGTH ? null : text;
}

/** @returns null for a malformed header */
export function readInvalidations(text: string): Invalidations | null {
  try {
    const { from, to, at, touched } = JSON.parse(Buffer.from(text, 'base64url').toString()) as Invalidations;
    const isWhole =
      [from, to, at].every(Number.isFinite) &&
      touched.every(
        ({ position, entities }) =>
          Number.isFinite(position) && entities.every((entity) => typeof entity === 'string' && entity.includes(':')),
      );
    return isWhole ? { from, to, at, touched } : null;
  } catch {
    return null;
  }
}

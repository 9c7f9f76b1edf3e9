import type { Invalidation, Invalidations } from '@tributary/consistency';

const bytesOf = (text: string) => Buffer.byteLength(text);

/**
 * Writes invalidations as messages of limited size, for consecutive ranges of positions. A position whose invalidations do not fit into a message
 * is left out: the next message begins at it, which listeners notice as a gap.
 *
 * @param maxBytes the most bytes of one message
 * @param onTooLarge called with each position that is left out
 */
export function* invalidationMessages(
  invalidations: Invalidations,
  maxBytes: number,
  onTooLarge: (position: number, bytes: number) => void,
): Generator<string> {
  const whole = JSON.stringify(invalidations);
  if (bytesOf(whole) <= maxBytes) {
    yield whole;
    return;
  }
  const { to, touched } = invalidations;
  // No position has more digits than the last.
  const envelopeBytes = bytesOf(JSON.stringify({ ...invalidations, from: to, touched: [] }));
  let from = invalidations.from;
  let part: Invalidation[] = [];
  let bytes = envelopeBytes;
  // Only the last message reaches the position that `at` speaks of.
  const upTo = (last: number) => JSON.stringify({ ...invalidations, from, to: last, at: 0, touched: part });
  for (const invalidation of touched) {
    const size = bytesOf(JSON.stringify(invalidation)) + 1;
    const before = invalidation.position - 1;
    const fits = envelopeBytes + size <= maxBytes;
    if ((!fits || bytes + size > maxBytes) && (part.length > 0 || before > from)) {
      yield upTo(before);
      [from, part, bytes] = [before, [], envelopeBytes];
    }
    if (fits) {
      part.push(invalidation);
      bytes += size;
    } else {
      onTooLarge(invalidation.position, size);
      from = invalidation.position;
    }
  }
  yield JSON.stringify({ ...invalidations, from, touched: part });
}

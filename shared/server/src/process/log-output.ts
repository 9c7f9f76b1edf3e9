import { writeSync } from 'node:fs';
import { type DestinationStream, pino } from 'pino';

/**
 * Where a logger writes. When the reader of the pipe is gone, or the disk is full, lines are lost and nothing waits for them:
 * the destination's own flushSync, which pino calls after a fatal line and at the exit, would try again for ever.
 */
export function logOutput(fd: 1 | 2): DestinationStream {
  const output = pino.destination(fd);
  output.on('error', () => undefined);
  output.flushSync = () => {
    const { _bufs: waiting } = output as unknown as { readonly _bufs: string[] };
    try {
      for (const lines of waiting.splice(0)) writeSync(fd, lines);
    } catch {
      // They are lost.
    }
  };
  return output;
}

/** The environment in which a program of ours runs `code` (a module's text) before its own. */
export function preload(code: string): NodeJS.ProcessEnv {
  return { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(code)}` };
}

/** The environment of a program whose clock is ahead by so much, or behind. */
export const shiftedClock = (aheadMs: number): NodeJS.ProcessEnv =>
  preload(`const now = Date.now; Date.now = () => now() + ${aheadMs};`);

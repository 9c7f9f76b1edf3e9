import { type ChildProcess, spawn } from 'node:child_process';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { identifyProcess } from '@tributary/cli';

const PROJECT = fileURLToPath(new URL('../../', import.meta.url));

/** A program of ours in a process of its own. */
export interface RunningProgram {
  readonly pid: number;
  /** All that it printed so far, on both streams. */
  output(): string;
  /** The first match in what it prints; fails when it ends without. */
  printed(pattern: RegExp): Promise<RegExpExecArray>;
  /** How it ended: its exit status, or the signal that ended it. */
  readonly ended: Promise<number | NodeJS.Signals | null>;
  kill(signal: NodeJS.Signals): void;
  /** Reads nothing that it prints from now on: its standard output and error are closed pipes. */
  stopReading(): void;
}

/**
 * Runs a built entry file with Node; only PATH comes from this process's environment.
 *
 * @param input what it reads on standard input
 */
export function runProgram(
  entry: string,
  args: readonly string[] = [],
  env: NodeJS.ProcessEnv = {},
  input = '',
): RunningProgram {
  const child: ChildProcess = spawn(process.execPath, [resolve(PROJECT, entry), ...args], {
    cwd: PROJECT,
    env: { PATH: process.env.PATH, ...env },
    stdio: [input === '' ? 'ignore' : 'pipe', 'pipe', 'pipe'],
  });
  child.stdin?.end(input);
  let output = '';
  const listeners = new Set<() => void>();
  const notify = () => {
    for (const listener of listeners) listener();
  };
  const append = (chunk: Buffer) => {
    output += chunk;
    notify();
  };
  child.stdout?.on('data', append);
  child.stderr?.on('data', append);
  let over = false;
  const ended = new Promise<number | NodeJS.Signals | null>((resolve) =>
    child.once('close', (status, signal) => {
      over = true;
      notify();
      resolve(signal ?? status);
    }),
  );
  return {
    pid: child.pid as number,
    output: () => output,
    printed: (pattern) =>
      new Promise((resolve, reject) => {
        const look = () => {
          const match = pattern.exec(output);
          if (!match && !over) return;
          listeners.delete(look);
          if (match) resolve(match);
          else reject(new Error(`It ended without printing ${pattern}:\n${output}`));
        };
        listeners.add(look);
        look();
      }),
    ended,
    kill: (signal) => void child.kill(signal),
    stopReading() {
      child.stdout?.destroy();
      child.stderr?.destroy();
    },
  };
}

/** Whether a process with this number runs (one that has ended and waits to be collected does not). */
export function isAlive(pid: number): boolean {
  return identifyProcess(pid) !== null;
}

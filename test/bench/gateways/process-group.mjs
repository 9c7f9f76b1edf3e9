// Processor time and memory of a process group, from Linux's /proc: a gateway and every process that it starts.
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** Linux reports processor time to programs in hundredths of a second, whatever the kernel's own clock is. */
const TICK_MS = 10;

/**
 * Adds up the living processes of a group, and the ended ones that they have waited for.
 * `memoryMB` is resident memory, `peakMB` the most that there was of it; memory that processes share counts once in each.
 * Everything is NaN where there is no /proc.
 */
export function readGroup(group) {
  const processes = members(group);
  const total = { cpuMs: 0, memoryMB: 0, peakMB: 0 };
  for (const { pid, ticks } of processes) {
    total.cpuMs += ticks * TICK_MS;
    total.memoryMB += megabytes(pid, 'VmRSS');
    total.peakMB += megabytes(pid, 'VmHWM');
  }
  return processes.length > 0 ? total : { cpuMs: Number.NaN, memoryMB: Number.NaN, peakMB: Number.NaN };
}

/** Resolves when the group does next to nothing: what it owed to earlier requests is done. It waits 10 s at most. */
export async function untilIdle(group) {
  let { cpuMs } = readGroup(group);
  for (let attempt = 0; attempt < 100; attempt++) {
    await sleep(100);
    const now = readGroup(group).cpuMs;
    // NaN, too, ends the wait.
    if (!(now - cpuMs > TICK_MS)) return;
    cpuMs = now;
  }
}

function members(group) {
  const found = [];
  for (const pid of pids()) {
    // The name, in parentheses, can contain spaces; the state is the first field after it.
    const fields = read(`/proc/${pid}/stat`)?.split(') ').at(-1).split(' ');
    if (fields?.[2] !== String(group)) continue;
    // utime, stime, and the same of children that ended.
    const ticks = fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0);
    found.push({ pid, ticks });
  }
  return found;
}

function pids() {
  try {
    return readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  } catch {
    return [];
  }
}

function megabytes(pid, field) {
  const match = new RegExp(`${field}:\\s+(\\d+)`).exec(read(`/proc/${pid}/status`) ?? '');
  return match ? Number(match[1]) / 1024 : 0;
}

/** The text of a file; undefined when the process has ended. */
function read(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

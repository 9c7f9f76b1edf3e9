import type { FaultStack, Program, ProgramName } from '../harness/fault-stack.ts';

/** A copy that is further behind is not healthy. */
const MAX_LAG_SECONDS = 1;
/** A gateway serves nothing from its cache of a service whose last message is older. */
const MAX_SOURCE_AGE_SECONDS = 1.5;

/** One value of a Prometheus metric. */
export interface Sample {
  readonly metric: string;
  /** `source="users"` and so on, as Prometheus writes them. */
  readonly labels: string;
  readonly value: number;
}

/** What a program says at `/metrics`; null: it does not answer. */
export async function readMetrics({ url }: Pick<Program, 'url'>): Promise<Sample[] | null> {
  const text = await fetch(`${url}/metrics`, { signal: AbortSignal.timeout(5000) }).then(
    (response) => response.text(),
    () => null,
  );
  if (text === null) return null;
  return [...text.matchAll(/^(\w+)(?:\{(.*)\})? (\S+)$/gm)].map(([, metric = '', labels = '', value]) => ({
    metric,
    labels,
    value: Number(value),
  }));
}

/** What keeps a stack from being healthy, as its operators see it: readiness, and metrics that say it lags or has no leader. */
export async function problemsOf({ programs }: FaultStack): Promise<string[]> {
  const all = Object.values(programs);
  const each = await Promise.all(all.map(problemsOfProgram));
  const leaders = new Map<Program['role'], ProgramName[]>();
  for (const [i, { leads }] of each.entries()) {
    const { role, name } = all[i] as Program;
    if (role !== 'gateway') leaders.set(role, [...(leaders.get(role) ?? []), ...(leads ? [name] : [])]);
  }
  const disputed = [...leaders].filter(([, names]) => names.length !== 1);
  return [
    ...each.flatMap(({ problems }) => problems),
    ...disputed.map(([service, names]) => `relay of ${service}: led by ${names.join(' and ') || 'none'}`),
  ];
}

async function problemsOfProgram(program: Program): Promise<{ problems: string[]; leads: boolean }> {
  const [readiness, metrics] = await Promise.all([problemOfReadiness(program), readMetrics(program)]);
  const problems = [
    readiness,
    metrics === null ? '/metrics does not answer' : null,
    ...(metrics ?? []).map(problemOfSample),
    program.role === 'gateway' && metrics !== null ? problemOfSources(metrics) : null,
  ];
  return {
    problems: problems
      .filter((problem) => problem !== null)
      .map((problem) => `${program.name}: ${problem.slice(0, 300)}`),
    leads: (metrics ?? []).some(({ metric, value }) => metric === 'relay_leading' && value === 1),
  };
}

async function problemOfReadiness({ url }: Program): Promise<string | null> {
  const response = await fetch(`${url}/health/ready`, { signal: AbortSignal.timeout(5000) }).catch(() => null);
  if (response === null) return '/health/ready does not answer';
  const { status, service: _service, ...details } = (await response.json()) as Record<string, unknown>;
  return response.status === 200 && status === 'ready' ? null : `${status} ${JSON.stringify(details)}`;
}

function problemOfSample({ metric, labels, value }: Sample): string | null {
  const isWrong =
    (metric === 'copy_lag_seconds' && value >= MAX_LAG_SECONDS) ||
    (metric === 'gateway_cache_source_age_seconds' && value >= MAX_SOURCE_AGE_SECONDS) ||
    (metric === 'bus_connected' && value !== 1);
  return isWrong ? `${metric}{${labels}} is ${value}` : null;
}

/** A gateway caches nothing of a service before its first message. */
function problemOfSources(metrics: readonly Sample[]): string | null {
  const sources = metrics.filter(({ metric }) => metric === 'gateway_cache_source_age_seconds').length;
  return sources === 3 ? null : `receives messages of ${sources} of 3 services`;
}

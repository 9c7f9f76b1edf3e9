import { createElement as h, useSyncExternalStore } from 'react';

/** What the gateway last said of how an answer came about; undefined: nothing yet, null: it does not say. */
let explanation;
const listeners = new Set();

/** Takes the explanation out of an answer, for the panel to show. */
export function takeExplanation(answer) {
  const { explanation: taken, ...others } = answer.extensions ?? {};
  explanation = taken ?? null;
  for (const listener of listeners) listener();
  return { ...answer, extensions: Object.keys(others).length > 0 ? others : undefined };
}

function subscribe(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** A panel of GraphiQL's: the plan of the last operation, and what was fetched for it. */
export const PLAN_PLUGIN = {
  title: 'Query plan',
  icon: () =>
    h(
      'svg',
      { viewBox: '0 0 24 24', fill: 'none', stroke: 'currentColor', strokeWidth: 1.5 },
      h('path', { d: 'M12 3v6M12 9H5v6M12 9h7v6M5 15v6M19 15v6M12 9v12' }),
    ),
  content: PlanPanel,
};

function PlanPanel() {
  const shown = useSyncExternalStore(subscribe, () => explanation);
  if (shown === undefined) return h('p', null, 'Run an operation: its plan is shown here.');
  if (shown === null) return h('p', null, 'The gateway does not explain its answers to everybody (see EXPLAIN_TOKEN).');
  const { plan, planning, fetches, durationMs } = shown;
  return h(
    'div',
    { className: 'plan' },
    h('h2', null, 'Query plan'),
    h(
      'p',
      null,
      `${durationMs} ms, of which ${planning.durationMs} ms until ${planning.cached ? 'the plan was found' : 'it was planned'}.`,
    ),
    h(
      'table',
      null,
      h(
        'thead',
        null,
        h('tr', null, ...['subgraph', 'for', 'entities', 'from', 'took'].map((name) => h('th', { key: name }, name))),
      ),
      h(
        'tbody',
        null,
        ...fetches.map((fetch, i) =>
          h(
            'tr',
            { key: i },
            h('td', null, fetch.subgraph + (fetch.shared ? ' (shared)' : '')),
            h('td', null, fetch.paths.map((path) => path || 'the root').join(', ')),
            h('td', null, fetch.entities || ''),
            h('td', null, `${fetch.startMs} ms`),
            h('td', null, `${fetch.durationMs} ms`),
          ),
        ),
      ),
    ),
    h('pre', null, plan.text),
  );
}

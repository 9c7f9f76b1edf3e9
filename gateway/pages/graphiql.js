import 'graphiql/setup-workers/vite';
import 'graphiql/style.css';
import { HISTORY_PLUGIN } from '@graphiql/plugin-history';
import { GraphiQL } from 'graphiql';
import { createElement } from 'react';
import { createRoot } from 'react-dom/client';
import { PLAN_PLUGIN, takeExplanation } from './plan-panel.js';
import SAMPLE_QUERY from './sample-query.graphql?raw';

async function fetcher(parameters, { headers = {} } = {}) {
  const response = await fetch('/graphql', {
    method: 'POST',
    headers: { accept: 'application/json', 'content-type': 'application/json', 'x-explain': 'plan', ...headers },
    body: JSON.stringify(parameters),
  });
  return takeExplanation(await response.json());
}

createRoot(document.getElementById('graphiql')).render(
  createElement(GraphiQL, {
    fetcher,
    initialQuery: SAMPLE_QUERY,
    shouldPersistHeaders: false,
    plugins: [HISTORY_PLUGIN, PLAN_PLUGIN],
    visiblePlugin: PLAN_PLUGIN,
  }),
);

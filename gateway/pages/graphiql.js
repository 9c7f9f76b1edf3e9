import 'graphiql/setup-workers/vite';
import 'graphiql/style.css';
import { createGraphiQLFetcher } from '@graphiql/toolkit';
import { SAMPLE_QUERY } from '@tributary/shared/superstore/sample-query';
import { GraphiQL } from 'graphiql';
import { createElement } from 'react';
import { createRoot } from 'react-dom/client';

const fetcher = createGraphiQLFetcher({ url: '/graphql' });
createRoot(document.getElementById('graphiql')).render(
  createElement(GraphiQL, { fetcher, initialQuery: SAMPLE_QUERY, shouldPersistHeaders: false }),
);

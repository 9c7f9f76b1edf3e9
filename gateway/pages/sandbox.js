import { ApolloSandbox } from '@apollo/sandbox';
import SAMPLE_QUERY from './sample-query.graphql?raw';

new ApolloSandbox({
  target: '#sandbox',
  initialEndpoint: `${window.location.origin}/graphql`,
  // Apollo would receive error reports and usage events of whoever opens the page.
  runTelemetry: false,
  initialState: { document: SAMPLE_QUERY, pollForSchemaUpdates: true },
});

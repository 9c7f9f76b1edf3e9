import { ApolloSandbox } from '@apollo/sandbox';
import { SAMPLE_QUERY } from '@tributary/shared/superstore/sample-query';

new ApolloSandbox({
  target: '#sandbox',
  initialEndpoint: `${window.location.origin}/graphql`,
  initialState: { document: SAMPLE_QUERY, pollForSchemaUpdates: true },
});

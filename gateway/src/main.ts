import { serve } from '@tributary/shared/service/run-service';
import { runCommand } from '@tributary/shared/service/service-command';
import { readConfig, settings } from './config.js';
import { createGateway } from './gateway.js';

await runCommand('gateway', settings, {
  serve: {
    description: 'answer GraphQL requests (the default)',
    async run() {
      const config = readConfig();
      await serve('gateway', config, (logger) => createGateway(config, logger));
    },
  },
  compose: {
    description: 'compose SUBGRAPHS and print the supergraph, for SUPERGRAPH_PATH',
    async run() {
      const { composeOnce } = await import('./supergraph/compose-once.js');
      process.stdout.write(await composeOnce(readConfig()));
    },
  },
});

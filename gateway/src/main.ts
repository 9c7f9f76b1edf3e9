import { createLogger, serveUntilStopped } from '@tributary/shared/service/run-service';
import { runCommand } from '@tributary/shared/service/service-command';
import { readConfig } from './config.js';
import { createGateway } from './gateway.js';

await runCommand('gateway', {
  serve: {
    description: 'answer GraphQL requests (the default)',
    async run() {
      const config = readConfig();
      const logger = createLogger('gateway', config.LOG_LEVEL);
      const gateway = await createGateway(config, logger);
      const listening = serveUntilStopped(gateway, logger);
      await Promise.all([listening, gateway.ready]);
    },
  },
});

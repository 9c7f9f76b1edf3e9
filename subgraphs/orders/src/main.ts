import { serve } from '@tributary/shared/service/run-service';
import { runCommand, setUpCommand, setUpSettings } from '@tributary/shared/service/service-command';
import { readConfig, settings } from './config.js';
import { createOrdersService, rebuildReadModels, setUpOrders } from './service.js';

await runCommand(
  'orders',
  { ...settings, ...setUpSettings },
  {
    serve: {
      description: 'answer GraphQL requests (the default)',
      async run() {
        const config = readConfig();
        await serve('orders', config, (logger) => createOrdersService(config, logger));
      },
    },
    setup: setUpCommand(setUpOrders, () => readConfig().ORDERS_DATABASE_URL),
    rebuild: {
      description: 'make the read models anew from the events',
      async run() {
        const events = await rebuildReadModels(readConfig().ORDERS_DATABASE_URL);
        process.stdout.write(`Replayed ${events} events.\n`);
      },
    },
  },
);

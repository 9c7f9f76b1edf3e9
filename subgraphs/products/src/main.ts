import { serve } from '@tributary/shared/service/run-service';
import { runCommand, setUpCommand, setUpSettings } from '@tributary/shared/service/service-command';
import { readConfig, settings } from './config.js';
import { createProductsService, setUpProducts } from './service.js';

await runCommand(
  'products',
  { ...settings, ...setUpSettings },
  {
    serve: {
      description: 'answer GraphQL requests (the default)',
      async run() {
        const config = readConfig();
        await serve('products', config, (logger) => createProductsService(config, logger));
      },
    },
    setup: setUpCommand(setUpProducts, () => readConfig().PRODUCTS_DATABASE_URL),
  },
);

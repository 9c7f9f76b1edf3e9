import { runCommand, serveCommand, setUpCommand, setUpSettings } from '@tributary/shared/service/service-command';
import { readConfig, settings } from './config.js';

await runCommand(
  'products',
  { ...settings, ...setUpSettings },
  {
    serve: serveCommand('products', readConfig, async () => (await import('./service.js')).createProductsService),
    setup: setUpCommand('products', settings, async () => (await import('./service.js')).setUpProducts),
  },
);

import { runCommand, serveCommand } from '@tributary/server';
import { setUpCommand, setUpSettings } from '@tributary/subgraph';
import { readConfig, settings } from './config.js';

await runCommand(
  'products',
  { ...settings, ...setUpSettings },
  {
    serve: serveCommand('products', readConfig, async () => (await import('./service.js')).createProductsService),
    setup: setUpCommand('products', settings, async () => (await import('./service.js')).setUpProducts),
  },
);

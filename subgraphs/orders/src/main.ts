import { runCommand, serveCommand } from '@tributary/server';
import { databaseCommand, setUpCommand, setUpSettings } from '@tributary/subgraph';
import { readConfig, settings } from './config.js';

await runCommand(
  'orders',
  { ...settings, ...setUpSettings },
  {
    serve: serveCommand('orders', readConfig, async () => (await import('./service.js')).createOrdersService),
    setup: setUpCommand('orders', settings, async () => (await import('./service.js')).setUpOrders),
    rebuild: databaseCommand('orders', settings, {
      description: 'rebuild the read models from the events',
      async run(databaseUrl) {
        const { rebuildReadModels } = await import('./service.js');
        return `Replayed ${await rebuildReadModels(databaseUrl)} events.`;
      },
    }),
  },
);

import { runCommand, serveCommand } from '@tributary/server';
import { setUpCommand, setUpSettings } from '@tributary/subgraph';
import { readConfig, settings } from './config.js';

await runCommand(
  'users',
  { ...settings, ...setUpSettings },
  {
    serve: serveCommand('users', readConfig, async () => (await import('./service.js')).createUsersService),
    setup: setUpCommand('users', settings, async () => (await import('./service.js')).setUpUsers),
  },
);

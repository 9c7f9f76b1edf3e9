import { runCommand, serveCommand, setUpCommand, setUpSettings } from '@tributary/shared/service/service-command';
import { readConfig, settings } from './config.js';

await runCommand(
  'users',
  { ...settings, ...setUpSettings },
  {
    serve: serveCommand('users', readConfig, async () => (await import('./service.js')).createUsersService),
    setup: setUpCommand('users', settings, async () => (await import('./service.js')).setUpUsers),
  },
);

import { serve } from '@tributary/shared/service/run-service';
import { runCommand, setUpCommand, setUpSettings } from '@tributary/shared/service/service-command';
import { readConfig, settings } from './config.js';
import { createUsersService, setUpUsers } from './service.js';

await runCommand(
  'users',
  { ...settings, ...setUpSettings },
  {
    serve: {
      description: 'answer GraphQL requests (the default)',
      async run() {
        const config = readConfig();
        await serve('users', config, (logger) => createUsersService(config, logger));
      },
    },
    setup: setUpCommand(setUpUsers, () => readConfig().USERS_DATABASE_URL),
  },
);

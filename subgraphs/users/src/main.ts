import { createLogger, serveUntilStopped } from '@tributary/shared/service/run-service';
import { runCommand, setUpCommand } from '@tributary/shared/service/service-command';
import { readConfig } from './config.js';
import { createUsersService, setUpUsers } from './service.js';

await runCommand('users', {
  serve: {
    description: 'answer GraphQL requests (the default)',
    async run() {
      const config = readConfig();
      const logger = createLogger('users', config.LOG_LEVEL);
      await serveUntilStopped(await createUsersService(config, logger), logger);
    },
  },
  setup: setUpCommand(setUpUsers, () => readConfig().USERS_DATABASE_URL),
});

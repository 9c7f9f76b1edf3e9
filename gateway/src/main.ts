import { runCommand, serveCommand } from '@tributary/server';
import { checkFiles } from './check-files.js';
import { readConfig, settings } from './config.js';

await runCommand('gateway', settings, {
  serve: serveCommand('gateway', readConfig, async () => (await import('./app.js')).createGateway, checkFiles),
  compose: {
    description: 'compose SUBGRAPHS and print the supergraph, for SUPERGRAPH_PATH',
    async run() {
      const { compose } = await import('./open-graphs.js');
      process.stdout.write(await compose(readConfig()));
    },
  },
});

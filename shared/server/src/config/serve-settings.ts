import { availableParallelism } from 'node:os';
import { duration, host, logLevel, setting } from './environment.js';

/** How many processes serve behind one port. */
const processCount = setting(
  '"auto" or a number, 1-99',
  (text) => {
    if (text === 'auto') return availableParallelism();
    return /^[1-9]\d?$/.test(text) ? Number(text) : undefined;
  },
  '1',
);

/** What every program that serves reads from its environment. */
export const serveSettings = {
  HOST: host.describe('Interface to listen on. The image sets `0.0.0.0`.'),
  LOG_LEVEL: logLevel.describe(
    'Least severe messages to log: `fatal`, `error`, `warn`, `info`, `debug`, `trace`, `silent`.',
  ),
  PROCESSES: processCount.describe('Number of processes that share the port; `auto` starts one for each core.'),
  SHUTDOWN_DELAY: duration('0s', { max: '1h' }).describe(
    'Time after SIGTERM in which connections are still accepted while `/health/ready` fails, so that load balancers notice.',
  ),
};

// The long run of orders under fire. `npm run faults -- --help`
import { spawn } from 'node:child_process';
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: {
    orders: { type: 'string', default: '2500' },
    clients: { type: 'string', default: '50' },
    faults: { type: 'string', default: '80' },
    seed: { type: 'string', default: process.env.FAULT_SEED ?? String(Date.now() % 1_000_000) },
    report: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) {
  process.stdout.write(`Places orders on the whole stack while its processes and servers are killed and paused; then checks every account.

  --orders <n>     how many orders (2500)
  --clients <n>    how many clients at the same time (50)
  --faults <n>     how many kills and pauses (80)
  --seed <n>       repeats the choices of a run (random)
  --report <file>  writes what it came to
`);
  process.exit(0);
}
const child = spawn('npx', ['vitest', 'run', 'test/faults/orders'], {
  stdio: 'inherit',
  env: {
    ...process.env,
    FAULT_ORDERS: values.orders,
    FAULT_CLIENTS: values.clients,
    FAULTS: values.faults,
    FAULT_SEED: values.seed,
    ...(values.report && { FAULT_REPORT: values.report }),
  },
});
child.on('exit', (status) => process.exit(status ?? 1));

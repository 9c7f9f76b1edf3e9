import { defineConfig } from 'vitest/config';

// Tests run on the TypeScript sources of every package ("source" in their exports); only what a test starts as a
// process of its own comes from the build.
export default defineConfig({
  ssr: { resolve: { conditions: ['source', 'node'] } },
  resolve: { conditions: ['source', 'node'], alias: [{ find: /^graphql$/, replacement: 'graphql/index.js' }] },
  test: {
    include: ['{shared,gateway,cli}/src/**/*.spec.ts', 'subgraphs/*/src/**/*.spec.ts', 'test/**/*.spec.ts'],
    globalSetup: 'test/harness/global-setup.ts',
    reporters: ['default', './test/harness/summary-reporter.ts'],
    testTimeout: 30_000,
    hookTimeout: 60_000,
    teardownTimeout: 30_000,
    pool: 'forks',
    maxWorkers: 2,
  },
});

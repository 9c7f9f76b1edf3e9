import { defineConfig } from 'vitest/config';

/** Specs of what is around the product: its packages, its documentation, its containers, its load test. */
const TOOLS = 'test/{contract,docker,docs,load,packages}/**/*.spec.ts';

const project = (name: string, include: string[], exclude: string[] = []) => ({
  extends: true as const,
  // Not in the common settings: it would run once more for those.
  test: { name, include, exclude: ['**/node_modules/**', ...exclude], globalSetup: 'test/harness/global-setup.ts' },
});

// Tests run on the TypeScript sources of every package ("source" in their exports); only what a test starts as a
// process of its own comes from the build.
export default defineConfig({
  ssr: { resolve: { conditions: ['source', 'node'] } },
  resolve: { conditions: ['source', 'node'], alias: [{ find: /^graphql$/, replacement: 'graphql/index.js' }] },
  test: {
    reporters: ['default', './test/harness/summary-reporter.ts'],
    testTimeout: 30_000,
    hookTimeout: 60_000,
    teardownTimeout: 30_000,
    pool: 'forks',
    maxWorkers: 2,
    projects: [
      project(
        'everyday',
        ['{shared/*,gateway,cli,subgraphs/*}/{src,test}/**/*.{unit,int}.spec.ts', 'test/**/*.int.spec.ts'],
        [TOOLS],
      ),
      project('e2e', ['test/**/*.e2e.spec.ts'], [TOOLS]),
      project('tools', [TOOLS]),
      project('soak', ['{gateway,test}/**/*.soak.spec.ts']),
    ],
  },
});

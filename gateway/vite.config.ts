import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';

const pages = fileURLToPath(new URL('pages/', import.meta.url));
/** Its sources, so that the pages need not wait for its build. */
const shared = fileURLToPath(new URL('../shared/src', import.meta.url));

export default defineConfig({
  root: pages,
  resolve: { alias: { '@tributary/shared': shared } },
  build: {
    outDir: '../dist/pages',
    emptyOutDir: true,
    chunkSizeWarningLimit: 10_000,
    rolldownOptions: {
      input: [`${pages}sandbox.html`, `${pages}graphiql.html`],
      checks: { pluginTimings: false },
      onLog: () => undefined,
    },
  },
});

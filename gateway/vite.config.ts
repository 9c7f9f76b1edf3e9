import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';

const pages = fileURLToPath(new URL('pages/', import.meta.url));

export default defineConfig({
  root: pages,
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

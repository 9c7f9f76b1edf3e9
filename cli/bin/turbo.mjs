// @ts-check
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

/** Turborepo's own program: its JavaScript wrapper takes as long to start as a check of the build. */
export function turboProgram() {
  const require = createRequire(import.meta.url);
  const arch = process.arch === 'x64' ? '64' : process.arch;
  const os = process.platform === 'win32' ? 'windows' : process.platform;
  const wrapper = createRequire(require.resolve('turbo/package.json'));
  const manifest = wrapper.resolve(`@turbo/${os}-${arch}/package.json`);
  return join(dirname(manifest), 'bin', process.platform === 'win32' ? 'turbo.exe' : 'turbo');
}

/** Switches its telemetry and notices off. */
export const TURBO_ENVIRONMENT = { TURBO_TELEMETRY_DISABLED: '1', DO_NOT_TRACK: '1', TURBO_NO_UPDATE_NOTIFIER: '1' };

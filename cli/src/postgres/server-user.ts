import { execFileSync, spawnSync } from 'node:child_process';
import { chownSync } from 'node:fs';
import { UserError } from '../user-error.js';

/**
 * As whom PostgreSQL runs. It refuses to be root, so root starts it as the system's user `postgres`, or `nobody` where
 * there is no such user; anybody else starts it as themselves.
 */
export interface ServerUser {
  /** Put before a command line. */
  readonly prefix: readonly string[];
  readonly ids: { readonly uid: number; readonly gid: number } | Record<string, never>;
  /** Gives a file or folder to that user. */
  own(path: string): void;
}

const MYSELF: ServerUser = { prefix: [], ids: {}, own: () => undefined };

/**
 * @param paths what the user must be able to enter or read: PostgreSQL's programs, the data folder
 * @throws UserError when root's PostgreSQL could not enter them
 */
export function chooseServerUser(paths: readonly string[]): ServerUser {
  if (process.getuid?.() !== 0) return MYSELF;
  const ids = lookUp('postgres') ?? lookUp('nobody');
  if (!ids) throw new UserError('PostgreSQL does not run as root, and there is no user "postgres" or "nobody" here.');
  const own = (path: string) => chownSync(path, ids.uid, ids.gid);

  const reachable = paths.every((path) => spawnSync('test', ['-r', path], { ...ids, cwd: '/' }).status === 0);
  if (reachable) return { prefix: [], ids, own };

  // A project below /root, say: the other user may not pass through, so it is lent root's right to.
  const passing = [
    'setpriv',
    `--reuid=${ids.uid}`,
    `--regid=${ids.gid}`,
    '--clear-groups',
    '--inh-caps=+dac_override',
    '--ambient-caps=+dac_override',
    // PostgreSQL looks at its own programs with access(2), which leaves such rights out of account otherwise.
    '--securebits=+no_setuid_fixup',
  ];
  if (spawnSync('setpriv', [...passing.slice(1), 'true'], { cwd: '/' }).status === 0)
    return { prefix: passing, ids: {}, own };
  throw new UserError(
    `PostgreSQL does not run as root, and user ${ids.uid}, as whom it would run, may not read\n  ${paths.join('\n  ')}\n` +
      'Run as an ordinary user, or put the project where that user can read it.',
  );
}

function lookUp(user: string): { uid: number; gid: number } | undefined {
  const ask = (flag: string) => Number(execFileSync('id', [flag, user], { encoding: 'utf8', stdio: 'pipe' }));
  try {
    return { uid: ask('-u'), gid: ask('-g') };
  } catch {
    return undefined;
  }
}

import { ConfigurationError, got } from '../config/environment.js';

/** Errors of ours whose message is complete; a stack adds nothing. */
const PLAIN = new Set(['ImportConflictError', 'AlreadyRunningError']);

/**
 * Describes a problem that the operator can fix; null when it is a fault of the program.
 *
 * @param program as in the names of its settings: `gateway`
 */
export function startProblem(error: unknown, program: string): string | null {
  if (error instanceof ConfigurationError) return error.message;
  if (error instanceof Error && PLAIN.has(error.name)) return error.message;
  const { code, syscall, port, address, hostname } = (error ?? {}) as NodeJS.ErrnoException & {
    readonly port?: number;
    readonly address?: string;
    readonly hostname?: string;
  };
  const setting = settingOf(program, 'PORT');
  if (syscall === 'getaddrinfo' && hostname !== undefined)
    return `HOST: expected an address or a name of this machine; ${got(hostname)} (${code})`;
  if (syscall !== 'listen' && syscall !== 'bind') return null;
  if (code === 'EADDRINUSE')
    return `port ${port} is in use. Stop the program that uses it, or choose another port with ${setting}.`;
  if (code === 'EACCES' || code === 'EPERM')
    return `port ${port}: permission denied. Choose a port above 1023 with ${setting}.`;
  return `HOST: expected an address or a name of this machine; ${got(address ?? '')} (${code})`;
}

/** The name of a setting that each program has one of: `USERS_PORT`. */
export const settingOf = (program: string, name: 'PORT' | 'URL' | 'DATABASE_URL'): string =>
  `${program.toUpperCase().replaceAll('-', '_')}_${name}`;

import { signToken } from '@tributary/subgraph';
import { readSecrets } from './data-folder.js';
import { findConnections } from './running-stack.js';

const TIMEOUT_MS = 3000;

/** Prints a bearer token for a user. A user that does not exist, or cannot be looked up, is a warning on standard error. */
export async function printToken(userId: string, dataDir: string): Promise<void> {
  const { tokens } = readSecrets(dataDir);
  const [token, warning] = await Promise.all([signToken(tokens, userId), checkUser(userId, dataDir)]);
  process.stdout.write(`${token}\n`);
  if (warning) process.stderr.write(`${warning}\n`);
}

async function checkUser(userId: string, dataDir: string): Promise<string | null> {
  try {
    const { USERS_URL } = findConnections(dataDir);
    const response = await fetch(`${USERS_URL}/graphql`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        query: 'query FindUser($id: ID!) { user(id: $id) { id } }',
        variables: { id: userId },
      }),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    const { data } = (await response.json()) as { data?: { user?: { id: string } | null } | null };
    if (data?.user) return null;
    if (data?.user === null) return `There is no user "${userId}": this token cannot be used.`;
  } catch {
    // No stack runs, or the users service does not respond.
  }
  return `Whether user "${userId}" exists was not checked: the users service cannot be reached.`;
}

import { createHash } from 'node:crypto';

/** Names a supergraph in logs and at `/health/ready`; changes with its text. */
export function supergraphId(supergraphSdl: string): string {
  return createHash('sha256').update(supergraphSdl).digest('hex').slice(0, 12);
}

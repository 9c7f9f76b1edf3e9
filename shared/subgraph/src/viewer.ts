import { ApiError } from '@tributary/server';
import { createRemoteJWKSet, errors, jwtVerify, SignJWT } from 'jose';

/** The sender of a request: the subject of a verified token; null without one. */
export interface Viewer {
  readonly userId: string;
}

export interface ViewerOptions {
  /** Shared secret of HS256 tokens. */
  readonly secret?: string | undefined;
  /** Where the public keys of the identity provider are published. */
  readonly jwksUrl?: string | undefined;
}

/** Reads the `authorization` header; null when there is none. */
export type ReadViewer = (authorization: string | undefined) => Promise<Viewer | null>;

/**
 * Verifies bearer tokens (JWT). Without a secret and a JWKS URL every token is refused.
 *
 * @throws ApiError UNAUTHENTICATED (from the returned function) when a token is given but does not hold
 */
export function viewerReader({ secret, jwksUrl }: ViewerOptions): ReadViewer {
  const key = secret ? new TextEncoder().encode(secret) : undefined;
  const keySet = jwksUrl ? createRemoteJWKSet(new URL(jwksUrl), { timeoutDuration: 3000 }) : undefined;

  return async (authorization) => {
    if (!authorization) return null;
    const token = /^Bearer (\S+)$/i.exec(authorization)?.[1];
    if (!token) throw new ApiError('UNAUTHENTICATED', 'The authorization header must be "Bearer <token>".');
    try {
      const { payload } = keySet
        ? await jwtVerify(token, keySet)
        : key
          ? await jwtVerify(token, key, { algorithms: ['HS256'] })
          : unverifiable();
      if (payload.sub) return { userId: payload.sub };
      throw new ApiError('UNAUTHENTICATED', 'The token names no subject.');
    } catch (error) {
      if (error instanceof errors.JWTExpired) throw new ApiError('UNAUTHENTICATED', 'The token has expired.');
      if (error instanceof ApiError) throw error;
      throw new ApiError('UNAUTHENTICATED', 'The token could not be verified.');
    }
  };
}

function unverifiable(): never {
  throw new ApiError('UNAUTHENTICATED', 'No way to verify tokens is configured (AUTH_SECRET or AUTH_JWKS_URL).');
}

/** Signs a token for a user with the shared secret, for development. */
export async function signToken(secret: string, userId: string, validFor = '12h'): Promise<string> {
  return new SignJWT()
    .setProtectedHeader({ alg: 'HS256' })
    .setSubject(userId)
    .setIssuedAt()
    .setExpirationTime(validFor)
    .sign(new TextEncoder().encode(secret));
}

/** What the codes of NATS and of its client mean. */
const IN_WORDS: Readonly<Record<string, string>> = {
  '503': 'JetStream is not available (503)',
  AUTHORIZATION_VIOLATION: 'NATS refused the login',
  AUTHENTICATION_EXPIRED: 'the login to NATS expired',
  AUTHENTICATION_TIMEOUT: 'the login to NATS took too long',
  ACCOUNT_EXPIRED: 'the account at NATS expired',
  CONNECTION_REFUSED: 'NATS refused the connection; it may not be running',
  CONNECTION_TIMEOUT: 'NATS did not answer in time',
  TIMEOUT: 'NATS did not answer in time',
  CONNECTION_CLOSED: 'the connection to NATS was closed',
  DISCONNECT: 'the connection to NATS was closed',
};

/** Why NATS did not do something, in a sentence for logs and `/health/ready`. */
export function natsErrorInWords(error: unknown): string {
  const { code, message } = error as { code?: unknown; message?: string };
  return IN_WORDS[String(code)] ?? (message || 'NATS failed without a reason');
}

/** Whether an event is refused because of its size: by the server's `max_payload`, or by the stream's own limit. */
export function isTooLarge(error: unknown): boolean {
  const { code, api_error } = error as { code?: unknown; api_error?: { err_code?: number } };
  return code === 'MAX_PAYLOAD_EXCEEDED' || api_error?.err_code === 10_054;
}

import { ApiError, type ErrorCode, type ErrorDetails } from '@tributary/server';

export interface FetchErrorOptions {
  /** Whether a retry at once would not help, not even with a smaller request. */
  readonly isFinal?: boolean;
  /** Whether the subgraph itself fails, which its client reports at `/health/ready`. */
  readonly isOutage?: boolean;
  /** The outcome in the metrics; by default the code. */
  readonly outcome?: string;
}

/** Why a fetch from a subgraph has no result, as clients see it. */
export class FetchError extends ApiError {
  readonly isFinal: boolean;
  readonly isOutage: boolean;
  readonly outcome: string;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}, options: FetchErrorOptions = {}) {
    super(code, message, details);
    this.isFinal = options.isFinal ?? true;
    this.isOutage = options.isOutage ?? false;
    this.outcome = options.outcome ?? code;
  }
}

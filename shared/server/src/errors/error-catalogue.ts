/** The description of a code for clients: the page docs/errors.md is generated from these. */
interface CatalogueEntry {
  /** When it occurs. */
  readonly when: string;
  /** Whether the same request may succeed later. */
  readonly retry: string;
  /** The HTTP status, where it is not that of an executed request (200). */
  readonly status?: string;
  /** When each `extensions.reason` occurs. */
  readonly reasons?: Readonly<Record<string, string>>;
}

const UNCHANGED = 'No: change the request.';

/** Every code in `errors[].extensions.code`, and every reason in `extensions.reason`, of the gateway and the services in this repository. */
export const ERROR_CATALOGUE = {
  GRAPHQL_PARSE_FAILED: {
    when: 'The document has a syntax error.',
    retry: UNCHANGED,
    status: '400',
  },
  GRAPHQL_VALIDATION_FAILED: {
    when: 'The document does not fit the schema: an unknown field, a missing argument, a literal of the wrong type, a subscription.',
    retry: UNCHANGED,
    status: '400',
    reasons: {
      CHARACTER: 'A text in a JSON literal contains a NUL or an unpaired surrogate.',
      INTROSPECTION_DISABLED: 'The document selects `__schema` or `__type`, and introspection is disabled.',
      NUMBER: 'A number in a JSON literal cannot be represented.',
      TOO_DEEP: 'A JSON literal is nested too deeply.',
    },
  },
  OPERATION_RESOLUTION_FAILURE: {
    when: 'The document has no operation of the name in `operationName`, or several operations and no name selects one.',
    retry: UNCHANGED,
    status: '400',
  },
  BAD_USER_INPUT: {
    when: 'A value is not accepted: of a variable, an argument, an input field or a request header. `extensions.field` names it where it is known.',
    retry: 'No: change the value.',
    status: '200; 400 if it is refused before the operation runs',
    reasons: {
      CHARACTER: 'A text contains a control character or an unpaired surrogate.',
      CURSOR: '`after` is not a cursor of this list in this sort order.',
      DATE: 'A date or time is malformed or out of range.',
      EMAIL: 'A text is not an e-mail address.',
      EMPTY: 'A text or a list is empty.',
      EMPTY_RANGE: 'The lower bound of a filter is above its upper bound.',
      FORM: 'A value does not have the format of its type.',
      FRACTION_OF_A_CENT: 'An amount has more than two decimals.',
      NOT_AN_OBJECT: 'A JSON value must be an object.',
      NOT_POSITIVE: 'An amount must be above 0.',
      NUMBER: 'A number in a JSON value cannot be represented.',
      ONE_OF: 'Exactly one of several arguments must be given.',
      OUT_OF_RANGE: 'A number is below its minimum or above its maximum.',
      PAGE_SIZE: '`first` is not from 0 to 100.',
      TOO_DEEP: 'A JSON value is nested too deeply.',
      TOO_LARGE: 'An amount is above its maximum.',
      TOO_LONG: 'A text has too many characters or bytes.',
      TOO_MANY: 'A list has too many items.',
      TOO_MANY_WORDS: 'A search has too many words.',
    },
  },
  BAD_REQUEST: {
    when: 'The HTTP request is not GraphQL over HTTP: no JSON, no `query`, an unsupported method or media type, headers or a body that are too large or come too slowly.',
    retry: UNCHANGED,
    status: '400, 405, 406, 408, 413, 415 or 431',
    reasons: {
      BATCH: 'The body is a list of requests: batching is not supported.',
      BODY_SIZE: 'The body is too large (HTTP status 413).',
    },
  },
  PERSISTED_QUERY_NOT_SUPPORTED: {
    when: 'The request has the hash of a persisted query, and no `query` or an empty one.',
    retry: 'Yes, with `query`: clients with automatic persisted queries do so by themselves.',
  },
  NOT_FOUND: {
    when: 'A mutation names something that does not exist (a query returns null instead), or nothing is served at the URL.',
    retry: 'No.',
    status: '200; 404 for a URL',
  },
  CONFLICT: {
    when: 'The present state does not allow the mutation.',
    retry: 'Depends on the reason: read the state again first.',
    reasons: {
      ACCOUNT_LIMIT: 'The account would hold more money or more entries than it can. Do not retry.',
      EMAIL_TAKEN: 'Another user has this e-mail address. Do not retry.',
      IDEMPOTENCY_KEY_REUSED:
        'The idempotency key was used with other arguments. Retry with a new key if a new action is meant.',
      ORDER_CANCELLED: 'The order is cancelled. Do not retry.',
      ORDER_CONFIRMED: 'The order is confirmed. Do not retry.',
      ORDER_NOT_PLACED: 'The order was not placed. Do not retry.',
      ORDER_PLACED: 'The order was placed already. Do not retry.',
      ORDER_REJECTED: 'The order is rejected. Do not retry.',
      PRODUCT_DISCONTINUED: 'The product is discontinued. Do not retry.',
      SKU_TAKEN: 'Another product has this SKU. Do not retry.',
      STALE_VERSION: '`expectedVersion` is not the present version. Read it again, and retry with the new version.',
      STOCK_LIMIT: 'The stock would hold more units or movements than it can. Do not retry.',
      USER_DELETED: 'The user is deleted. Do not retry.',
      VERSION_LIMIT: 'The entity cannot be changed any more. Do not retry.',
    },
  },
  UNAUTHENTICATED: {
    when: 'The `authorization` header is malformed, or its token is invalid or expired.',
    retry: 'Yes, with a new token.',
  },
  FORBIDDEN: {
    when: 'The client may not send this request.',
    retry: 'No.',
    status: '403',
    reasons: { CROSS_SITE: 'A page of another site embeds the URL, as an image or a script.' },
  },
  SUBGRAPH_UNAVAILABLE: {
    when: 'A subgraph or its database does not respond, or responds with something other than GraphQL. `extensions.subgraph` names it.',
    retry: 'Yes, after a second, and then less and less often. Mutations: with the same idempotency key.',
    status: '200; 503 while the gateway has no supergraph or is shutting down',
    reasons: { CIRCUIT_OPEN: 'The subgraph failed repeatedly, so requests to it are suspended for a moment.' },
  },
  TIMEOUT: {
    when: 'A subgraph or its database took too long.',
    retry: 'Yes, or request less. Mutations: with the same idempotency key; the first attempt may have succeeded.',
  },
  RATE_LIMITED: {
    when: 'Too many new operations are waiting to be planned.',
    retry: 'Yes, after a second, as the header `retry-after` says.',
    status: '429',
  },
  COST_LIMIT: {
    when: 'The operation is larger than the gateway allows.',
    retry: 'No: split the operation.',
    status: '400',
    reasons: {
      ALIASES: 'Too many aliases.',
      DEPTH: 'Too many levels of fields.',
      FIELDS: 'Too many fields, with fragments expanded.',
      NESTING: 'The text of the document has brackets or lists nested too deeply.',
      PLANNING: 'Planning the operation takes too much time or memory.',
      REPEATED_FIELDS: 'One selection repeats a field too often.',
      TOKENS: 'The document has too many tokens or lines.',
    },
  },
  DOWNSTREAM_SERVICE_ERROR: {
    when: 'A subgraph of your own responded with an error that has no code. Codes of its own are passed on. Or it refused the request that the gateway made for this one, as while its schema changes.',
    retry: 'Unknown; queries may be sent once more.',
  },
  INVALID_SUBGRAPH_RESPONSE: {
    when: 'A subgraph responded with data that does not fit the schema or the request.',
    retry: 'No: report it with `extensions.requestId`.',
  },
  TOO_MANY_ERRORS: {
    when: 'The last error of a response with too many to list; the others are left out.',
    retry: 'See the other errors.',
  },
  INTERNAL_SERVER_ERROR: {
    when: 'An unexpected error; only the log has its details, and `extensions.requestId` finds them.',
    retry: 'No: report it with `extensions.requestId`.',
    status: '200; 500 if the operation could not be executed at all',
    reasons: { PLANNING: 'The operation could not be planned.' },
  },
} as const satisfies Readonly<Record<string, CatalogueEntry>>;

/** A code that a client may find in `errors[].extensions.code`. */
export type ErrorCode = keyof typeof ERROR_CATALOGUE;

/** A reason that a client may find in `errors[].extensions.reason` beside one of these codes. */
export type ErrorReason<Code extends ErrorCode = ErrorCode> = Code extends ErrorCode
  ? (typeof ERROR_CATALOGUE)[Code] extends { readonly reasons: infer Reasons }
    ? keyof Reasons & string
    : never
  : never;

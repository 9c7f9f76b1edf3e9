export {
  ConfigurationError,
  count,
  databaseUrl,
  duration,
  type GivenSettings,
  gotPath,
  isUrl,
  listSetting,
  onOff,
  port,
  readEnvironment,
  secret,
  serviceUrl,
  setting,
  urlSetting,
} from './config/environment.js';
export { fileProblem } from './config/file-problem.js';
export { serveSettings } from './config/serve-settings.js';
export { describeVariables } from './config/variables.js';
export { ERROR_CATALOGUE } from './errors/error-catalogue.js';
export {
  ApiError,
  badUserInput,
  conflict,
  type ErrorCode,
  type ErrorDetails,
  type ErrorReason,
  errorAt,
  masked,
  notFound,
  withCode,
} from './errors/errors.js';
export { DatabaseAwayError, isReadTimeout, isTransient } from './errors/failure.js';
export { isCalendarDay } from './graphql/calendar-day.js';
export {
  type GraphQLRequest,
  RequestRefusedError,
  type ResponseHeaders,
  serveGraphQL,
  varyWithAccept,
  WrittenResult,
  write,
} from './graphql/graphql-endpoint.js';
export { findJsonFault, MAX_JSON_DEPTH } from './graphql/json-value.js';
export { MAX_OPERATION_NAME, OPERATION_NAME_HEADER } from './graphql/operation-name.js';
export { operationRunner, parseDocument, refuseChange, selectOperation } from './graphql/operations.js';
export { DateTime, Decimal, JSONValue, SCALARS } from './graphql/scalars.js';
export { isWellFormed } from './graphql/unicode.js';
export { Health } from './http/health.js';
export { createHttpService, type HttpService } from './http/http-service.js';
export { anySignal } from './process/any-signal.js';
export { Fault } from './process/fault.js';
export { refuseUnusableAddress } from './process/listen-address.js';
export { logOutput } from './process/log-output.js';
export { causeOf, privateLogs } from './process/log-privacy.js';
export { repeat } from './process/repeat.js';
export { settingOf, startProblem } from './process/start-problem.js';
export { type Clock, systemTime, type Time, type Timer, type Timers } from './process/time.js';
export { timeoutSignal } from './process/timeout-signal.js';
export { settledWithin, Turns } from './process/turns.js';
export { handleUnexpectedErrors } from './process/unexpected-errors.js';
export { unlessAborted } from './process/unless-aborted.js';
export { type Command, runCommand, serveCommand } from './service/service-command.js';

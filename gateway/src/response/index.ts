// Response: completes data by the schema, writes it as JSON, and converts errors to the client's terms.

// Errors in the client's names: its fields (client-fields), locations (error-locations) and messages (error-messages).
export { toClientErrors } from './client-errors.js';
// What the next two are compiled from: the fields of a selection set, by the specification's CollectFields.
export type { CompletionInputs } from './collect-fields.js';
// Completes data by the specification's CompleteValue, with every null and error.
export { type CompleteData, compileCompletion } from './complete-value.js';
// The error of a `@skip` or `@include` whose condition is null.
export { conditionError } from './condition-error.js';
// Writes valid data as JSON in one step, without completing it first.
export { compileJsonWriter, type JsonWriter } from './json-writer.js';

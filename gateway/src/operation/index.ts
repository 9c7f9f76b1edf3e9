// Operations: documents are parsed, validated and normalized once, and cached.

// The gateway's directives for clients: `@defer` and `@maxStaleness`.
export { withDirectives } from './client-directives.js';
// A request's variables, coerced by the client's declarations.
export { byClientNames, coerceVariables, type NormalizedVariables } from './coerce-variables.js';
// Validation of the services' scalars.
export { validateCustomScalars } from './custom-scalars.js';
// Where operations and documents are cached. New ones pass parse-and-validate (with document-rules), normalize-operation (with
// normalize-arguments, normalize-literals) and create-operation (with rename-conflicts, introspection, count-fields).
export { DocumentCache } from './document-cache.js';
export { fragmentsOf } from './fragments.js';
export type { ClientDocument, Operation, OperationSource, ValidationResult } from './operation.js';
// Evaluates `@skip` and `@include` before planning.
export { withEvaluatedConditions } from './skip-include.js';
// Locations in a text, and names that messages suggest.
export { SourceLines } from './source-lines.js';
export { errorWithoutSuggestions, withoutSuggestions } from './suggestions.js';

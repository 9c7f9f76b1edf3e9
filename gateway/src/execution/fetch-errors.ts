import { withCause } from '../lib/error-cause.js';
import { type ArgumentUse, type Author, MAX_ERRORS, type ResponseErrors } from '../lib/error-list.js';
import { isObject, type Path } from '../lib/json.js';
import type { SubgraphError, SubgraphResult } from '../subgraph/index.js';
import { argumentFinder } from './argument-uses.js';
import { containsNull, type EntityResult } from './entity-batch.js';
import { type SubgraphOperation, selectedNames } from './subgraph-operation.js';

/** The size up to which a subgraph's `extensions` are passed on whole, in characters of JSON. */
const MAX_EXTENSIONS = 4000;
/** The properties of larger ones that are passed on. */
const ESSENTIAL_EXTENSIONS = ['code', 'reason', 'field', 'requestId'];
const MAX_MESSAGE = 2000;
/** Codes of errors in a document. The document is the gateway's, so they do not concern the client's. */
const DOCUMENT_CODES = new Set<unknown>(['GRAPHQL_PARSE_FAILED', 'GRAPHQL_VALIDATION_FAILED']);
/** Codes that servers add to errors of resolvers without a code: `BAD_USER_INPUT` for refused values, `INTERNAL_SERVER_ERROR` by Apollo Server. */
const SERVER_CODES = new Set<unknown>([...DOCUMENT_CODES, 'BAD_USER_INPUT', 'INTERNAL_SERVER_ERROR']);
/** The start of servers' messages about values of variables and arguments that they refuse. */
const REFUSED_VALUE = /^(Variable|Argument) ["'`$]/i;

/**
 * Adds the errors of a fetch of root fields, at every path of the response that has the fields. An error that names no field is added once
 * for each field that contains null. Without data, every field gets an error.
 */
export function addRootErrors(
  into: ResponseErrors,
  operation: SubgraphOperation,
  { data, errors = [] }: Pick<SubgraphResult, 'data' | 'errors'>,
  paths: readonly Path[],
): void {
  const message = `The subgraph "${operation.subgraph}" returned no data.`;
  const nothing: SubgraphError = { message, extensions: withCause({ code: 'INVALID_SUBGRAPH_RESPONSE' }, message) };
  const names = selectedNames(operation, () => true);
  const missing = new Map(
    names.filter((name) => !isObject(data) || containsNull(data[name])).map((name) => [name, below(paths, [name])]),
  );
  const explained = new Set<string>();
  const usesOf = argumentFinder(operation);
  for (const error of errors.length > 0 ? errors : [nothing]) {
    const [name = ''] = error.path ?? [];
    if (error.path && names.includes(String(name))) {
      explained.add(String(name));
      for (const path of paths) if (!add(into, operation, error, [[...path, ...error.path]], null)) return;
    } else for (const each of addMissing(into, operation, error, missing, usesOf)) explained.add(each);
    if (into.isFull) return;
  }
  if (isObject(data)) return;
  // The error of one field does not explain the others: a mutation among them may have taken effect.
  for (const [name, paths] of missing) if (!explained.has(name)) addLost(into, operation, paths);
}

/** One occurrence of an entity in the response. */
export interface EntityOccurrence {
  /** The index of its representation; -1 when it has none and was not fetched. */
  readonly index: number;
  readonly path: Path;
  /** Whether it falls under a type condition. */
  readonly isOf: (condition: string) => boolean;
}

/**
 * Adds the errors of a fetch of entities. An error of a field of an entity is added at every occurrence of the entity; an error of
 * entities, or of the whole fetch, once for each field that they lack.
 */
export function addEntityErrors(
  into: ResponseErrors,
  operation: SubgraphOperation,
  { entities, errors }: EntityResult,
  occurrences: readonly EntityOccurrence[],
): void {
  const byIndex = new Map<number, EntityOccurrence[]>();
  for (const occurrence of occurrences) {
    const others = byIndex.get(occurrence.index);
    if (others) others.push(occurrence);
    else byIndex.set(occurrence.index, [occurrence]);
  }
  byIndex.delete(-1);
  // An error of several entities is one object. Null stands for any entity that contains null.
  const ofEntities = new Map<SubgraphError, Set<number> | null>();
  for (const { error, index, below: inEntity } of errors) {
    if (index !== null && inEntity.length > 0) {
      for (const { path } of byIndex.get(index) ?? []) {
        if (!add(into, operation, error, [[...path, ...inEntity]], null)) return;
      }
    } else if (index === null) ofEntities.set(error, null);
    else if (ofEntities.get(error) !== null) {
      ofEntities.set(error, (ofEntities.get(error) ?? new Set()).add(index));
    }
  }
  const lost = new Map<string, readonly Path[]>();
  const explained = new Set<string>();
  const usesOf = argumentFinder(operation);
  // A fetch that fails as a whole has one error for all its entities, so the list may not become full.
  for (const [error, indices] of [...ofEntities].slice(0, MAX_ERRORS + 1)) {
    if (into.isFull) return;
    const missing = new Map<string, Path[]>();
    const whole: Path[] = [];
    for (const { index, path, isOf } of occurrences) {
      if (index < 0 || (indices ? !indices.has(index) : !containsNull(entities?.[index]))) continue;
      const entity = entities?.[index];
      const names = selectedNames(operation, isOf);
      const lacking = isObject(entity) ? names.filter((name) => containsNull(entity[name])) : names;
      if (lacking.length === 0) whole.push(path);
      for (const name of lacking) {
        const others = missing.get(name);
        if (others) others.push([...path, name]);
        else missing.set(name, [[...path, name]]);
      }
    }
    const [first] = byIndex.values();
    if (missing.size === 0 && first) add(into, operation, error, whole.length > 0 ? whole : [first[0]?.path ?? []], []);
    if (missing.size === 0) continue;
    for (const name of addMissing(into, operation, error, missing, usesOf)) explained.add(name);
    for (const [name, paths] of missing) lost.set(name, paths);
  }
  for (const [name, paths] of lost) if (!explained.has(name)) addLost(into, operation, paths);
}

/**
 * Adds an error for each field that was not fetched because a field of the same entity failed, which may be one that the subgraph requires.
 */
export function addUnfetched(
  into: ResponseErrors,
  operation: SubgraphOperation,
  occurrences: readonly EntityOccurrence[],
): void {
  const unfetched = new Map<string, Path[]>();
  for (const { index, path, isOf } of occurrences) {
    if (index >= 0 || !into.explains(path)) continue;
    for (const name of selectedNames(operation, isOf)) {
      const place = [...path, name];
      if (into.explains(place)) continue;
      const others = unfetched.get(name);
      if (others) others.push(place);
      else unfetched.set(name, [place]);
    }
  }
  for (const paths of unfetched.values()) addLost(into, operation, paths);
}

/**
 * Adds an error once for each missing field; an error about values only for the fields that have them as arguments.
 *
 * @returns the names of the fields that it explains
 */
function addMissing(
  into: ResponseErrors,
  operation: SubgraphOperation,
  error: SubgraphError,
  missing: ReadonlyMap<string, readonly Path[]>,
  usesOf: (error: SubgraphError) => readonly ArgumentUse[],
): readonly string[] {
  const uses = authorOf(error) === 'server' ? usesOf(error) : [];
  if (missing.size === 0) add(into, operation, error, [], uses);
  const using = [...missing.keys()].filter((name) => uses.some(({ fields }) => fields[0] === name));
  for (const [name, paths] of missing) {
    const own = uses.filter(({ fields }) => fields[0] === name);
    if (using.length === 0 || own.length > 0) add(into, operation, error, paths, own);
  }
  return using.length > 0 ? using : [...missing.keys()];
}

function addLost(into: ResponseErrors, { subgraph, repeatable }: SubgraphOperation, paths: readonly Path[]): void {
  const hint = repeatable ? '' : ' A mutation may have taken effect.';
  const message = `The subgraph "${subgraph}" returned no result for this field, because another field of the request failed.${hint}`;
  into.add({ message, paths, extensions: { code: 'DOWNSTREAM_SERVICE_ERROR', subgraph }, isConsequence: true });
}

/**
 * @param uses null when the error itself names the field
 * @returns whether further errors may be added
 */
function add(
  into: ResponseErrors,
  { subgraph }: SubgraphOperation,
  error: SubgraphError,
  paths: readonly Path[],
  uses: readonly ArgumentUse[] | null,
): boolean {
  const { message, extensions } = error;
  // Clients must not see how a service is built; only the gateway sets `paths` and `pathCount`.
  const { stacktrace, exception, requestId, paths: _, pathCount, ...others } = extensions ?? {};
  const shown = bounded({ ...others, ...(typeof requestId === 'string' && { requestId }) });
  const isOfGateway = DOCUMENT_CODES.has(shown.code) && uses?.length === 0;
  const code = isOfGateway || typeof shown.code !== 'string' ? 'DOWNSTREAM_SERVICE_ERROR' : shown.code;
  return into.add({
    message: message ? cut(message) : `The subgraph "${subgraph}" returned an error without a message.`,
    paths,
    uses: uses ?? [],
    author: authorOf(error),
    extensions: { ...shown, code, subgraph },
  });
}

/** Determines who wrote an error's message. A resolver may quote any value, also one that looks like a name of the plan. */
function authorOf({ message = '', path, extensions: { code, field } = {} }: SubgraphError): Author {
  // Only errors of fields have a path.
  if (path === undefined || DOCUMENT_CODES.has(code)) return 'server';
  const isOwnCode = typeof code === 'string' && (!SERVER_CODES.has(code) || typeof field === 'string');
  if (isOwnCode) return 'coded resolver';
  return REFUSED_VALUE.test(message) ? 'server' : 'resolver';
}

function bounded(extensions: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  if (JSON.stringify(extensions).length <= MAX_EXTENSIONS) return extensions;
  const essential = ESSENTIAL_EXTENSIONS.map((name) => [name, extensions[name]] as const);
  return Object.fromEntries(
    essential.filter(([, value]) => typeof value === 'string' && value.length < MAX_EXTENSIONS / 8),
  );
}

function cut(message: string): string {
  return message.length <= MAX_MESSAGE ? message : `${message.slice(0, MAX_MESSAGE)}…`;
}

function below(paths: readonly Path[], end: Path): readonly Path[] {
  return paths.map((path) => [...path, ...end]);
}

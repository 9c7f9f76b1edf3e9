import { masked, WrittenResult } from '@tributary/server';
import { GraphQLError } from 'graphql';
import type { Logger } from 'pino';
import type { Fetcher } from '../subgraph/index.js';
import type { ExecutionHooks, GatewayPlugin, ParsedDocument, PluginOperation, RunRequest } from './plugin.js';

/** The hooks of all plug-ins, composed once; null where no plug-in has the hook. */
export interface Hooks {
  readonly onParse: ((parsed: ParsedDocument) => void) | null;
  readonly onValidate: ((parsed: ParsedDocument) => readonly GraphQLError[]) | null;
  readonly onPlan: ((operation: PluginOperation) => void) | null;
  readonly onExecute: ((operation: PluginOperation) => ExecutionHooks | undefined) | null;
}

/** An unexpected error of a plug-in. The log has its cause; clients receive INTERNAL_SERVER_ERROR. */
export class PluginError extends Error {
  override readonly name = 'PluginError';

  constructor(plugin: string, hook: string, cause: unknown) {
    super(`the plug-in "${plugin}" failed in ${hook}`, { cause });
  }
}

/** Composes the hooks of the stages of an operation, in the order of the plug-ins. */
export function composeHooks(plugins: readonly GatewayPlugin[], logger: Logger): Hooks {
  const parse = guard(plugins, 'onParse');
  const validate = guard(plugins, 'onValidate');
  const plan = guard(plugins, 'onPlan');
  return {
    onParse: parse && ((parsed) => parse.forEach(({ call }) => void call(parsed))),
    onValidate: validate && ((parsed) => validate.flatMap(({ plugin, call }) => errorsOf(plugin, call(parsed)))),
    onPlan: plan && ((operation) => plan.forEach(({ call }) => void call(operation))),
    onExecute: onExecuteOf(plugins, logger),
  };
}

/** Composes `onRequest` around a function that runs requests; returns that function when no plug-in has the hook. */
export function composeOnRequest(plugins: readonly GatewayPlugin[], run: RunRequest): RunRequest {
  return plugins.reduceRight<RunRequest>((next, plugin) => {
    if (!plugin.onRequest) return next;
    return async (request, cancellation) => {
      let failure: { readonly error: unknown } | undefined;
      const guardedNext: RunRequest = (changed, own = cancellation) => {
        if (typeof changed?.with !== 'function')
          throw new TypeError('expected next(request), or next(request.with({ … }))');
        return next(changed, own).catch((error: unknown) => {
          failure = { error };
          throw error;
        });
      };
      try {
        const result = await plugin.onRequest?.(request, guardedNext);
        if (!(result instanceof WrittenResult)) throw new TypeError('expected a WrittenResult');
        return result;
      } catch (error) {
        // What comes from below is no fault of this plug-in.
        const isOwn = (!failure || failure.error !== error) && !(error instanceof GraphQLError);
        throw isOwn ? new PluginError(plugin.name, 'onRequest', error) : error;
      }
    };
  }, run);
}

/** Composes `onSubgraphFetch` around the client of a subgraph; returns that client when no plug-in has the hook. */
export function composeOnSubgraphFetch(
  plugins: readonly GatewayPlugin[],
  subgraph: string,
  send: Fetcher,
  logger: Logger,
): Fetcher {
  return plugins.reduceRight<Fetcher>((next, plugin) => {
    if (!plugin.onSubgraphFetch) return next;
    return async (request) => {
      try {
        const result = await plugin.onSubgraphFetch?.(request, next, subgraph);
        if (!isObject(result) || Symbol.asyncIterator in result) throw new TypeError('expected one result');
        return result;
      } catch (error) {
        const reqId = request.headers['x-request-id'];
        if (!(error instanceof GraphQLError))
          logger.error({ err: new PluginError(plugin.name, 'onSubgraphFetch', error), reqId, subgraph }, FAILED);
        const { message, extensions } = error instanceof GraphQLError ? error : masked(reqId);
        return { errors: [{ message, extensions: { code: 'INTERNAL_SERVER_ERROR', ...extensions } }], isFinal: true };
      }
    };
  }, send);
}

/** @throws PluginError when `onValidate` returned something else than GraphQL errors */
function errorsOf(plugin: string, returned: unknown): readonly GraphQLError[] {
  const errors: unknown = returned ?? [];
  if (Array.isArray(errors) && errors.every((error) => error instanceof GraphQLError)) return errors;
  throw new PluginError(plugin, 'onValidate', new TypeError('expected a list of GraphQL errors'));
}

const FAILED = 'a plug-in failed';
const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null;
const isPromise = (value: unknown): value is Promise<unknown> =>
  isObject(value) && 'then' in value && typeof value.then === 'function';

type StageHook = 'onParse' | 'onValidate' | 'onPlan' | 'onExecute';
type Hook<Name extends StageHook> = NonNullable<GatewayPlugin[Name]>;

/** One plug-in's hook, whose unexpected errors name the plug-in. */
interface GuardedHook<Name extends StageHook> {
  readonly plugin: string;
  readonly call: Hook<Name>;
}

/** The hooks of one kind; null when there are none. */
function guard<Name extends StageHook>(plugins: readonly GatewayPlugin[], name: Name): GuardedHook<Name>[] | null {
  const hooks = plugins.flatMap((plugin) => {
    if (!plugin[name]) return [];
    const call = (argument: unknown) => {
      try {
        const result = (plugin[name] as (argument: unknown) => unknown)(argument);
        if (isPromise(result)) {
          // Its rejection is not the error to report.
          result.then(undefined, () => undefined);
          throw new TypeError('the hook must be synchronous; it returned a promise');
        }
        return result;
      } catch (error) {
        throw error instanceof GraphQLError ? error : new PluginError(plugin.name, name, error);
      }
    };
    return [{ plugin: plugin.name, call: call as Hook<Name> }];
  });
  return hooks.length === 0 ? null : hooks;
}

/** Calls `onExecute` of every plug-in, and combines the hooks that they return. */
function onExecuteOf(plugins: readonly GatewayPlugin[], logger: Logger): Hooks['onExecute'] {
  const hooks = guard(plugins, 'onExecute');
  if (!hooks) return null;
  return (operation) => {
    let combined: ExecutionHooks | undefined;
    for (const { plugin, call } of hooks) {
      const later = call(operation);
      if (!later) continue;
      const guarded = guardResult(later, plugin, operation, logger);
      combined = combined ? both(combined, guarded) : guarded;
    }
    return combined;
  };
}

/** Puts an error in place of the data when `onResult` throws: what the hook did not see must not leave. */
function guardResult(
  later: ExecutionHooks,
  plugin: string,
  { requestId }: PluginOperation,
  logger: Logger,
): ExecutionHooks {
  return {
    trace: later.trace ?? false,
    onResult(result, report) {
      try {
        const changed = later.onResult(result, report);
        if (!isObject(changed) || isPromise(changed)) throw new TypeError('expected a result');
        if (changed.errors?.some((error) => !(error instanceof GraphQLError)))
          throw new TypeError('expected errors to be GraphQL errors');
        // Without data, a result would count as that of a request that was not executed.
        return changed.data === undefined ? { ...changed, data: null } : changed;
      } catch (error) {
        if (error instanceof GraphQLError) return { data: null, errors: [error] };
        logger.error({ err: new PluginError(plugin, 'onResult', error), reqId: requestId }, FAILED);
        return { data: null, errors: [masked(requestId)] };
      }
    },
  };
}

function both(first: ExecutionHooks, second: ExecutionHooks): ExecutionHooks {
  return {
    trace: first.trace || second.trace || false,
    onResult: (result, report) => second.onResult(first.onResult(result, report), report),
  };
}

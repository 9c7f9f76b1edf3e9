import { masked } from '@tributary/server';
import { GraphQLError } from 'graphql';
import type { Logger } from 'pino';
import type { Fetcher } from '../subgraph/index.js';
import {
  checkErrors,
  checkRequest,
  checkResult,
  checkSubgraphRequest,
  checkSubgraphResult,
  checkWrittenResult,
} from './hook-contracts.js';
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
  const validate = guard(plugins, 'onValidate', checkErrors);
  const plan = guard(plugins, 'onPlan');
  return {
    onParse: parse && ((parsed) => parse.forEach(({ call }) => void call(parsed))),
    onValidate: validate && ((parsed) => validate.flatMap(({ call }) => call(parsed) ?? [])),
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
        checkRequest(changed);
        return next(changed, own).catch((error: unknown) => {
          failure = { error };
          throw error;
        });
      };
      try {
        return checkWrittenResult(await plugin.onRequest?.(request, guardedNext));
      } catch (error) {
        // What comes from below is no fault of this plug-in.
        throw failure && failure.error === error ? error : failureOf(plugin.name, 'onRequest', error);
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
      const received = new Set<unknown>();
      const guardedNext: Fetcher = async (changed) => {
        checkSubgraphRequest(changed);
        const result = await next(changed);
        received.add(result);
        return result;
      };
      try {
        const result = await plugin.onSubgraphFetch?.(request, guardedNext, subgraph);
        // What comes from below is no fault of this plug-in.
        return result && received.has(result) ? result : checkSubgraphResult(result);
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

/** What a hook threw, for the handler: a GraphQL error is meant for clients, but what caused it, like any other error, names the plug-in. */
function failureOf(plugin: string, hook: string, error: unknown): Error {
  if (!(error instanceof GraphQLError)) return new PluginError(plugin, hook, error);
  const { message, nodes, path, extensions, originalError } = error;
  if (!originalError) return error;
  const named = new PluginError(plugin, hook, originalError);
  return new GraphQLError(message, { nodes, path, extensions, originalError: named });
}

const FAILED = 'a plug-in failed';
const isPromise = (value: unknown): value is Promise<unknown> =>
  typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function';

type StageHook = 'onParse' | 'onValidate' | 'onPlan' | 'onExecute';
type Hook<Name extends StageHook> = NonNullable<GatewayPlugin[Name]>;

/** One plug-in's hook, whose unexpected errors name the plug-in. */
interface GuardedHook<Name extends StageHook> {
  readonly plugin: string;
  readonly call: Hook<Name>;
}

/** The hooks of one kind; null when there are none. */
function guard<Name extends StageHook>(
  plugins: readonly GatewayPlugin[],
  name: Name,
  check: (result: unknown) => unknown = (result) => result,
): GuardedHook<Name>[] | null {
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
        return check(result);
      } catch (error) {
        throw failureOf(plugin.name, name, error);
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
        return checkResult(later.onResult(result, report));
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

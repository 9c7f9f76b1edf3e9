import { readFileSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import {
  compose,
  type OperationPlan,
  type OperationRefusal,
  type PlanRequest,
  planOperation,
  readConfig,
} from '@tributary/gateway';
import { fileProblem } from '@tributary/server';
import type { OperateOptions } from './operations.js';
import { findServiceUrls } from './running-stack.js';
import { UserError } from './user-error.js';

export interface PlanOptions extends OperateOptions {
  /** The file of a supergraph; without it, that of the running stack. */
  readonly supergraph?: string;
  readonly planner?: 'native' | 'apollo';
  /** The name of the operation. */
  readonly operation?: string;
  readonly variables?: Readonly<Record<string, unknown>>;
}

/** Prints how the gateway would execute an operation. @throws UserError with the errors of an operation that it would refuse */
export async function showPlan(file: string, options: PlanOptions): Promise<void> {
  const { operation: operationName, variables = {}, planner, json } = options;
  const query = await readOperation(file);
  const planned = await plan({ query, operationName, variables }, options);
  if ('errors' in planned) throw refusal(planned, file === '-' ? 'standard input' : file);
  const { plannerReason } = planned;
  const given = { ...planned, plannerReason: planner === 'apollo' ? '--planner apollo' : plannerReason };
  process.stdout.write(json ? `${JSON.stringify(given, null, 2)}\n` : describe(given));
}

/** A line for each error: file, line and column as editors read them, and the message. */
function refusal({ errors }: OperationRefusal, file: string): UserError {
  const lines = errors.map(({ message, locations = [], extensions }) => {
    const place = locations.slice(0, 1).flatMap(({ line, column }) => [line, column]);
    // In terms of this command, not of a request.
    const isChoice = extensions.code === 'OPERATION_RESOLUTION_FAILURE';
    const words = isChoice ? message.replace('"operationName"', '--operation').replace('"query"', 'the file') : message;
    return `${[file, ...place].join(':')}: ${words}`;
  });
  return new UserError(lines.join('\n'));
}

async function readOperation(file: string): Promise<string> {
  try {
    return file === '-' ? await text(process.stdin) : readFileSync(file, 'utf8');
  } catch (error) {
    throw new UserError(`file: expected a GraphQL document; got "${file}" (${fileProblem(error)})`);
  }
}

async function plan(request: PlanRequest, { supergraph, planner, dataDir }: PlanOptions) {
  const subgraphs = supergraph === undefined ? Object.entries(findServiceUrls(dataDir)) : [];
  const config = readConfig({
    ...process.env,
    ...(planner && { QUERY_PLANNER: planner }),
    SUPERGRAPH_PATH: supergraph ?? '',
    SUBGRAPHS: subgraphs.map(([name, url]) => `${name}=${url}/graphql`).join(),
  });
  try {
    return await planOperation(config, request, supergraph === undefined ? await compose(config) : undefined);
  } catch (error) {
    const { name, message, cause } = error as Error;
    if (name === 'ConfigurationError') throw new UserError(message.replace(/^SUPERGRAPH_PATH:/, '--supergraph:'));
    if (!(error instanceof Error) || !('extensions' in error)) throw error;
    // The log that the message names is that of a gateway.
    throw new UserError(cause instanceof Error ? `The query planner failed: ${cause.message}` : message);
  }
}

function describe({ planner, plannerReason, conditions, text, fetches, variables }: OperationPlan): string {
  const values = Object.entries(conditions).map(([name, value]) => `$${name} = ${JSON.stringify(value)}`);
  const meanings = Object.entries(variables).map(([name, meaning]) => `$${name} = ${meaning}`);
  const parts = [
    `Planner: ${planner}${plannerReason === null ? '' : ` (${plannerReason})`}`,
    ...(values.length > 0 ? [`Conditions: ${values.join(', ')}`] : []),
    '',
    text,
    '',
    fetches.length === 0 ? 'No subgraph is needed.' : 'Fetches:',
    ...fetches.flatMap(({ number, subgraph, kind, path, after, operation }) => [
      '',
      `${number}. ${subgraph}: ${kind} fetch${path.length > 0 ? ` at ${path.join('.')}` : ''}${after.length > 0 ? `, after ${after.join(', ')}` : ''}`,
      ...operation.split('\n').map((line) => (line === '' ? line : `   ${line}`)),
    ]),
    ...(fetches.length > 0 && meanings.length > 0 ? ['', `Variables: ${meanings.join(', ')}`] : []),
  ];
  return `${parts.join('\n')}\n`;
}

import { type DocumentNode, type FragmentDefinitionNode, Kind, type OperationDefinitionNode, parse } from 'graphql';
import { type ClientDocument, fragmentsOf } from '../operation/index.js';

/**
 * The syntax tree of a client's operation. Errors need it for locations; it is parsed again for each response with errors, so that nothing
 * of it stays in memory for requests that succeed.
 */
export interface ClientOperation {
  /** The operation and all fragments of the document. */
  readonly document: DocumentNode;
  readonly definition: OperationDefinitionNode | undefined;
  readonly fragments: Readonly<Record<string, FragmentDefinitionNode>>;
}

/** Parses a client's text, which was valid before, and selects the operation that the request runs. */
export function parseClientOperation(query: string, { operationName }: ClientDocument): ClientOperation {
  const parsed = parse(query);
  const definitions = parsed.definitions.filter(
    (each) => each.kind !== Kind.OPERATION_DEFINITION || (each.name?.value ?? null) === operationName,
  );
  const definition = definitions.find((each) => each.kind === Kind.OPERATION_DEFINITION);
  return { document: { ...parsed, definitions }, definition, fragments: fragmentsOf(parsed) };
}

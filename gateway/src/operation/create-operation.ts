import { Kind, type Location, type OperationDefinitionNode, type VariableDefinitionNode } from 'graphql';
import { LRUCache } from 'lru-cache';
import type { SupergraphSchema } from '../lib/supergraph-schema.js';
import { maxStalenessOf } from './client-directives.js';
import { countFields } from './count-fields.js';
import { fragmentsOf } from './fragments.js';
import { introspectionOf } from './introspection.js';
import type { ClientDocument, Operation, OperationSource } from './operation.js';
import type { ParsedOperation } from './parse-and-validate.js';
import { renameConflicts } from './rename-conflicts.js';
import { type RequiredFields, requiredFields } from './required-fields.js';
import { conditionVariables } from './skip-include.js';
import { documentWeight, operationWeight } from './weights.js';

/** The most sets of conditions for which one operation is prepared. */
const MAX_PREPARED = 32;

/** Creates operations of one supergraph from valid documents. */
export class OperationFactory {
  readonly #fieldNames: ReadonlySet<string>;
  readonly #required: RequiredFields;

  constructor(supergraph: SupergraphSchema) {
    this.#fieldNames = new Set([...supergraph.compositeTypes()].flatMap((type) => Object.keys(type.getFields())));
    this.#required = requiredFields(supergraph);
  }

  /** @throws GraphQLError BAD_USER_INPUT when `@maxStaleness` has no literal duration */
  create({ document: parsed, selected, normalized }: ParsedOperation, source: OperationSource): Operation {
    const { document, responseNames } = renameConflicts(normalized.document, this.#fieldNames, this.#required);
    return {
      hash: normalized.hash,
      weight: operationWeight(normalized.size) + source.query.length,
      fields: countFields(parsed),
      document,
      definition: document.definitions[0] as OperationDefinitionNode,
      fragments: fragmentsOf(document),
      responseNames,
      conditions: conditionVariables(document),
      maxStalenessMs: maxStalenessOf(selected),
      introspection: introspectionOf(normalized.document),
      source,
      prepared: new LRUCache({ max: MAX_PREPARED }),
    };
  }
}

/** @param key the document's key in the cache, which counts as part of its weight */
export function createClientDocument(key: string, parsed: ParsedOperation): ClientDocument {
  const { selected, normalized } = parsed;
  const { hash, variableNames, literals } = normalized;
  return {
    hash,
    type: selected.operation,
    operationName: selected.name?.value ?? null,
    variableDefinitions: variableDefinitionsOf(parsed),
    variableNames,
    literals,
    weight: documentWeight(key, selected, literals),
  };
}

/** The client's declarations of its variables, without the document's syntax tree: only the text is referenced, for locations of errors. */
function variableDefinitionsOf({ selected, normalized }: ParsedOperation): VariableDefinitionNode[] {
  const { variableDefinitions = [] } = normalized.document.definitions[0] as OperationDefinitionNode;
  return (selected.variableDefinitions ?? []).map(({ variable, loc }, i) => {
    const name = { kind: Kind.NAME as const, value: variable.name.value };
    return {
      ...(variableDefinitions[i] as VariableDefinitionNode),
      variable: { kind: Kind.VARIABLE, name },
      ...(loc && { loc: { start: loc.start, end: loc.end, source: loc.source } as Location }),
    };
  });
}

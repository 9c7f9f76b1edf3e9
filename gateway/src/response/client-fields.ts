import {
  type FieldNode,
  type GraphQLObjectType,
  type GraphQLOutputType,
  getNamedType,
  getNullableType,
  isAbstractType,
  isListType,
  isObjectType,
  type SelectionSetNode,
} from 'graphql';
import { isObject, type Json, type Path } from '../lib/json.js';
import type { ClientOperation } from './client-operation.js';
import { collectFields } from './collect-fields.js';
import type { ErrorContext } from './error-context.js';

/** A field of the client's document; the fields below it are collected on first use, by type. */
interface ClientField {
  readonly type: GraphQLOutputType | null;
  readonly nodes: readonly FieldNode[];
  readonly selectionSets: readonly SelectionSetNode[];
  readonly below: Map<string, ReadonlyMap<string, ClientField>>;
}

/** A position in the response, in the client's response names. */
export interface ClientPlace {
  readonly path: Path;
  readonly nodes: readonly FieldNode[];
  /** Whether the client selected the field itself; false when it selected only an object that contains the field. */
  readonly isSelected: boolean;
}

/** A response name that the planner creates to keep apart fields that share one. */
const PLANNER_ALIAS = /^(\w+?)__alias_\d+$/;

/** The fields of a client's operation: converts response names and paths of the plan to the client's. */
export class ClientFields {
  readonly #context: ErrorContext;
  readonly #operation: ClientOperation;
  readonly #variables: Readonly<Record<string, unknown>>;
  readonly #root: ClientField;

  /** @param variables by the client's names */
  constructor(context: ErrorContext, operation: ClientOperation, variables: Readonly<Record<string, unknown>>) {
    this.#context = context;
    this.#operation = operation;
    this.#variables = variables;
    this.#root = {
      type: context.schema.getRootType(context.document.type) ?? null,
      nodes: [],
      selectionSets: operation.definition ? [operation.definition.selectionSet] : [],
      below: new Map(),
    };
  }

  /** Converts a response name of the plan to the client's; null when the client has none for it. */
  clientName(planName: string): string | null {
    const { responseNames } = this.#context.operation;
    const renamed = responseNames.get(planName);
    if (renamed !== undefined) return renamed;
    const original = planName.replace(PLANNER_ALIAS, '$1');
    return original === planName ? planName : (responseNames.get(original) ?? original);
  }

  /** Finds the place at a path of the plan, or the object around it where the client did not select the field. */
  placeAt(path: Path): ClientPlace {
    const clientPath: (string | number)[] = [];
    let field = this.#root;
    let type: GraphQLOutputType | null = field.type;
    let data: Json | undefined = this.#context.data;
    for (const key of path) {
      const nullable: GraphQLOutputType | null = type && getNullableType(type);
      if (typeof key === 'number') {
        const exists = Number.isInteger(key) && key >= 0 && (!Array.isArray(data) || key < data.length);
        if (!isListType(nullable) || !exists) return { path: clientPath, nodes: field.nodes, isSelected: false };
        type = nullable.ofType;
        clientPath.push(key);
      } else {
        const name = this.clientName(key);
        const next: ClientField | undefined =
          name === null || !nullable || isListType(nullable) ? undefined : this.#fieldOf(field, name, data);
        if (!next) {
          // A leaf has no fields: the plan's field is another one, and the client uses its response name for this leaf.
          if (nullable && !isListType(nullable) && !isObjectType(nullable) && !isAbstractType(nullable))
            clientPath.pop();
          return { path: clientPath, nodes: field.nodes, isSelected: false };
        }
        field = next;
        type = next.type;
        clientPath.push(name as string);
      }
      data = typeof data === 'object' && data !== null ? (data as Record<string | number, Json>)[key] : undefined;
    }
    return { path: clientPath, nodes: field.nodes, isSelected: true };
  }

  /** @param data the object with the field, if the data contains it */
  #fieldOf(field: ClientField, name: string, data: Json | undefined): ClientField | undefined {
    const { schema } = this.#context;
    const declared = field.type && getNamedType(field.type);
    const runtime = isObject(data) && typeof data.__typename === 'string' ? schema.getType(data.__typename) : undefined;
    const type = isObjectType(declared) ? declared : isObjectType(runtime) ? runtime : undefined;
    if (type) return this.#fieldsOf(field, type).get(name);
    // The type of a missing object is undecided: its field may be that of any possible type.
    const possible = isAbstractType(declared) ? schema.getPossibleTypes(declared) : [];
    const found = possible.flatMap((each) => this.#fieldsOf(field, each).get(name) ?? []);
    const [first] = found;
    return (
      first && {
        type: first.type,
        nodes: [...new Set(found.flatMap(({ nodes }) => nodes))],
        selectionSets: [...new Set(found.flatMap(({ selectionSets }) => selectionSets))],
        below: new Map(),
      }
    );
  }

  #fieldsOf(field: ClientField, type: GraphQLObjectType): ReadonlyMap<string, ClientField> {
    let fields = field.below.get(type.name);
    if (!fields) {
      const inputs = {
        schema: this.#context.schema,
        fragments: this.#operation.fragments,
        variables: this.#variables,
        responseNames: new Map(),
        introspection: null,
      };
      fields = new Map(
        collectFields(type, field.selectionSets, inputs).map((collected) => [
          collected.responseName,
          { ...collected, below: new Map() },
        ]),
      );
      field.below.set(type.name, fields);
    }
    return fields;
  }
}

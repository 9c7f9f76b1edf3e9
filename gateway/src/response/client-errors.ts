import { errorAt, withCode } from '@tributary/server';
import {
  BREAK,
  type FieldNode,
  type FragmentDefinitionNode,
  GraphQLError,
  GraphQLIncludeDirective,
  type GraphQLObjectType,
  type GraphQLOutputType,
  type GraphQLSchema,
  GraphQLSkipDirective,
  getDirectiveValues,
  getNamedType,
  getNullableType,
  isAbstractType,
  isListType,
  isObjectType,
  Kind,
  type OperationDefinitionNode,
  parse,
  type SelectionSetNode,
  type ValueNode,
  visit,
} from 'graphql';
import type { ArgumentUse, ResponseError } from '../lib/error-list.js';
import { isObject, type Json, type JsonObject, type Path } from '../lib/json.js';
import type { TypeConditions } from '../lib/type-conditions.js';
import type { ClientDocument, Operation } from '../operation/operation.js';
import { SourceLines } from '../operation/source-lines.js';
import { withoutSuggestions } from '../operation/suggestions.js';
import { type SelectedField, selectedFields } from './collect-fields.js';

/** How many of the paths that one error affects it lists. */
const MAX_PATHS = 20;
/** How many of the fields or values that one error is about it gives the locations of. */
const MAX_LOCATIONS = 20;
/** How much of a literal a message repeats, in characters. */
const MAX_LITERAL = 200;
/** Codes of errors that the client reports with the id of its request. */
const REPORTED = new Set<unknown>(['INTERNAL_SERVER_ERROR', 'INVALID_SUBGRAPH_RESPONSE', 'DOWNSTREAM_SERVICE_ERROR']);
/** What only the gateway and subgraphs know of: the fields and types by which entities are fetched. */
const PROTOCOL = /\b_entities\b|\b_Entity\b|\b_Any\b|\$representations/;

/** What errors of one response are presented with. */
export interface ErrorContext {
  /** What clients know of the graph. */
  readonly schema: GraphQLSchema;
  /** All of the graph. */
  readonly types: TypeConditions;
  /** The client's text. */
  readonly query: string;
  readonly document: ClientDocument;
  readonly operation: Operation;
  /** What the client gave. */
  readonly given: Readonly<Record<string, unknown>>;
  /** By normalized name. */
  readonly variables: Readonly<Record<string, unknown>>;
  /** In the names of the plan. */
  readonly data: JsonObject;
  readonly requestId: string | undefined;
  /** Whether messages may suggest names of the schema. */
  readonly suggestions: boolean;
}

/** A field of the client's document; its selections below are read when they are first needed. */
interface ClientField {
  readonly type: GraphQLOutputType | null;
  readonly nodes: readonly FieldNode[];
  readonly selectionSets: readonly SelectionSetNode[];
  readonly below: Map<string, ReadonlyMap<string, ClientField>>;
}

/** A place of the response in the client's names. */
interface Place {
  readonly path: Path;
  readonly nodes: readonly FieldNode[];
  /** Whether the client selected the field itself, and not only what holds it. */
  readonly isWhole: boolean;
}

/**
 * Makes of errors in the names of the plan errors in the client's: its response names, its variables and arguments, with locations in
 * its text. The text is parsed again, so that nothing of it has to be kept for the requests that succeed.
 */
export function presentErrors(errors: readonly ResponseError[], context: ErrorContext): GraphQLError[] {
  const presenter = new ErrorPresenter(context);
  const presented = new Set<string>();
  return errors.flatMap((error) => {
    const { shown, isWhole } = presenter.present(error);
    // Of several fields that only the plan has, one error says that the object lacks something.
    const key = isWhole ? null : JSON.stringify([shown.message, shown.path]);
    if (key !== null && presented.has(key)) return [];
    if (key !== null) presented.add(key);
    return [shown];
  });
}

/**
 * The error of a `@skip` or `@include` whose condition is null, with its location in the client's document.
 *
 * @param variables by the client's names
 */
export function conditionError(
  query: string,
  { operationName }: ClientDocument,
  variables: Readonly<Record<string, unknown>>,
): GraphQLError | null {
  const document = parse(query);
  const definitions = document.definitions.filter(
    (each) => each.kind !== Kind.OPERATION_DEFINITION || (each.name?.value ?? null) === operationName,
  );
  let found: GraphQLError | null = null;
  visit(
    { ...document, definitions },
    {
      enter(node) {
        try {
          for (const directive of [GraphQLSkipDirective, GraphQLIncludeDirective]) {
            if ('directives' in node) getDirectiveValues(directive, node, variables);
          }
        } catch (error) {
          if (!(error instanceof GraphQLError)) throw error;
          found = withCode(error, 'BAD_USER_INPUT');
          return BREAK;
        }
      },
    },
  );
  return found;
}

class ErrorPresenter {
  readonly #context: ErrorContext;
  readonly #lines: SourceLines;
  readonly #root: ClientField;
  readonly #fragments: Readonly<Record<string, FragmentDefinitionNode>>;
  /** The client's variables, by normalized name. */
  readonly #names: ReadonlyMap<string, string>;
  readonly #definitions: OperationDefinitionNode['variableDefinitions'];
  /** By the client's names. */
  readonly #variables: Readonly<Record<string, unknown>>;

  constructor(context: ErrorContext) {
    const { schema, query, document, variables } = context;
    this.#context = context;
    this.#lines = new SourceLines(query);
    const { definitions } = parse(query);
    const fragments = definitions.flatMap((each) => (each.kind === Kind.FRAGMENT_DEFINITION ? [each] : []));
    this.#fragments = Object.fromEntries(fragments.map((fragment) => [fragment.name.value, fragment]));
    const operation = definitions.find(
      (each): each is OperationDefinitionNode =>
        each.kind === Kind.OPERATION_DEFINITION && (each.name?.value ?? null) === document.operationName,
    );
    this.#definitions = operation?.variableDefinitions;
    this.#names = new Map([...document.variableNames].map(([name, normalized]) => [normalized, name]));
    this.#variables = byClientNames(document, variables);
    this.#root = {
      type: schema.getRootType(document.type) ?? null,
      nodes: [],
      selectionSets: operation ? [operation.selectionSet] : [],
      below: new Map(),
    };
  }

  present(error: ResponseError): { shown: GraphQLError; isWhole: boolean } {
    const { paths, uses = [], extensions } = error;
    const [first] = paths;
    const place = first && this.#follow(first);
    const isWhole = place?.isWhole ?? true;
    // Of what the client did not select, it gave no arguments.
    const located = place && isWhole ? uses.flatMap((use) => this.#locate(place, use)) : [];
    const nodes = located.length > 0 ? located : (place?.nodes ?? []);
    const starts = nodes.slice(0, MAX_LOCATIONS).flatMap(({ loc }) => loc?.start ?? []);
    const locations = starts.length > 0 ? starts.map((start) => this.#lines.locationOf(start)) : undefined;
    const { requestId } = this.#context;
    const shown = errorAt(this.#reworded(error, isWhole), locations, {
      path: place?.path,
      extensions: {
        ...extensions,
        ...(requestId !== undefined &&
          REPORTED.has(extensions.code) && { requestId: extensions.requestId ?? requestId }),
        ...(paths.length > 1 && {
          paths: paths.slice(0, MAX_PATHS).map((path) => this.#follow(path).path),
          pathCount: paths.length,
        }),
      },
    });
    return { shown, isWhole };
  }

  /** The place at a path, or, where the client did not select what is there, the object that holds it. */
  #follow(path: Path): Place {
    const followed: (string | number)[] = [];
    let field = this.#root;
    let type: GraphQLOutputType | null = field.type;
    let data: Json | undefined = this.#context.data;
    for (const key of path) {
      const nullable: GraphQLOutputType | null = type && getNullableType(type);
      if (typeof key === 'number') {
        const isThere = Number.isInteger(key) && key >= 0 && (!Array.isArray(data) || key < data.length);
        if (!isListType(nullable) || !isThere) return { path: followed, nodes: field.nodes, isWhole: false };
        type = nullable.ofType;
        followed.push(key);
      } else {
        const name = this.#clientName(key);
        const next: ClientField | undefined =
          name === null || !nullable || isListType(nullable) ? undefined : this.#fieldOf(field, name, data);
        if (!next) {
          // What has no fields is not what the plan means: the client calls something else so.
          if (nullable && !isListType(nullable) && !isObjectType(nullable) && !isAbstractType(nullable)) followed.pop();
          return { path: followed, nodes: field.nodes, isWhole: false };
        }
        field = next;
        type = next.type;
        followed.push(name as string);
      }
      data = typeof data === 'object' && data !== null ? (data as Record<string | number, Json>)[key] : undefined;
    }
    return { path: followed, nodes: field.nodes, isWhole: true };
  }

  /** The client's name for a response name of the plan; null when the client has none for it. */
  #clientName(key: string): string | null {
    const { responseNames } = this.#context.operation;
    const known = responseNames.get(key);
    if (known !== undefined) return known;
    const planned = key.replace(PLANNER_ALIAS, '$1');
    return planned === key ? key : (responseNames.get(planned) ?? planned);
  }

  /** @param data the object that has the field, as far as it is known */
  #fieldOf(field: ClientField, name: string, data: Json | undefined): ClientField | undefined {
    const { schema } = this.#context;
    const declared = field.type && getNamedType(field.type);
    const given = isObject(data) && typeof data.__typename === 'string' ? schema.getType(data.__typename) : undefined;
    const type = isObjectType(declared) ? declared : isObjectType(given) ? given : undefined;
    if (type) return this.#fieldsOf(field, type).get(name);
    // Of an object that is not there, the type is not known: the field may be that of any type.
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
      const parts = {
        schema: this.#context.schema,
        fragments: this.#fragments,
        variables: this.#variables,
        responseNames: new Map(),
        introspection: null,
      };
      fields = new Map(
        selectedFields(type, field.selectionSets, parts).map((selected: SelectedField) => [
          selected.responseName,
          { ...selected, below: new Map() },
        ]),
      );
      field.below.set(type.name, fields);
    }
    return fields;
  }

  /** The values in the client's text that an argument of the plan comes from. */
  #locate(place: Place, { fields, argument, within }: ArgumentUse): readonly ValueNode[] {
    // The place is the first of the fields.
    let nodes = place.nodes;
    for (const name of fields.slice(1)) {
      const below = nodes.flatMap(({ selectionSet }) => this.#selectedIn(selectionSet));
      nodes = below.filter(({ alias, name: own }) => (alias ?? own).value === this.#clientName(name));
    }
    return nodes.flatMap(({ arguments: given = [] }) =>
      given.filter(({ name }) => name.value === argument).map(({ value }) => this.#part(value, within)),
    );
  }

  #selectedIn(selectionSet: SelectionSetNode | undefined, spread: readonly string[] = []): readonly FieldNode[] {
    return (selectionSet?.selections ?? []).flatMap((selection) => {
      if (selection.kind === Kind.FIELD) return [selection];
      if (selection.kind === Kind.INLINE_FRAGMENT) return this.#selectedIn(selection.selectionSet, spread);
      const { value } = selection.name;
      return spread.includes(value) ? [] : this.#selectedIn(this.#fragments[value]?.selectionSet, [...spread, value]);
    });
  }

  #part(value: ValueNode, [key, ...rest]: Path): ValueNode {
    if (value.kind === Kind.VARIABLE) {
      const definition = this.#definitions?.find(({ variable }) => variable.name.value === value.name.value);
      // The client did not send what the operation has as a default.
      return Object.hasOwn(this.#context.given, value.name.value) ? value : (definition?.defaultValue ?? value);
    }
    if (key === undefined) return value;
    const part =
      value.kind === Kind.LIST
        ? value.values[Number(key)]
        : value.kind === Kind.OBJECT
          ? value.fields.find(({ name }) => name.value === key)?.value
          : undefined;
    return part ? this.#part(part, rest) : value;
  }

  /** A subgraph's message in the client's words. Those that are meant for clients stay as they are: they may quote anything. */
  #reworded({ message, author, uses = [], extensions: { subgraph } }: ResponseError, isWhole: boolean): string {
    if (author === undefined || author === 'coded resolver') return message;
    if (PROTOCOL.test(message)) return `The subgraph "${subgraph}" could not resolve the requested objects.`;
    // What a resolver of a field that the client selected says of other fields may be the client's own value.
    if ((author === 'server' || !isWhole) && this.#namesHidden(message))
      return `The subgraph "${subgraph}" could not resolve a field of the requested object.`;
    const named = author === 'server' ? this.#withVariables(message, uses) : message;
    const reworded = named.replace(/\w+/g, (word) => this.#clientName(word) ?? word);
    return this.#context.suggestions ? reworded : withoutSuggestions(reworded);
  }

  /** Whether it names a field that clients may not know of (`@inaccessible`). */
  #namesHidden(message: string): boolean {
    const { schema, types } = this.#context;
    for (const [, typeName = '', field = ''] of message.matchAll(/\b([A-Za-z_]\w{0,200})\.(\w{1,200})/g)) {
      const type = schema.getType(typeName);
      const isShown = type && 'getFields' in type && Object.hasOwn(type.getFields(), field);
      if (!isShown && types.hasField(typeName, field)) return true;
    }
    return false;
  }

  #withVariables(message: string, [use]: readonly ArgumentUse[]): string {
    const { literals } = this.#context.document;
    // In one pass: a client may call its variables as the plan calls others.
    return message.replace(VARIABLES, (whole, initial: string, mark: string, ...[of, at, other]: string[]) => {
      const normalized = of ?? at ?? other ?? '';
      const name = this.#names.get(normalized);
      if (name === undefined && !Object.hasOwn(literals, normalized)) return whole;
      if (at !== undefined) return `at "${name ?? use?.argument ?? 'value'}`;
      if (name !== undefined) return of === undefined ? `$${name}` : `${initial}ariable ${mark}$${name}${mark}`;
      const literal = JSON.stringify(literals[normalized]).slice(0, MAX_LITERAL);
      if (of === undefined) return literal;
      const argument = initial === 'V' ? 'Argument' : 'argument';
      return use ? `${argument} ${mark}${use.argument}${mark}` : `${argument} ${literal}`;
    });
  }
}

/** Variables in messages: `Variable "$v0"`, `at "v0.part"`, `$v0`. */
const VARIABLES = /\b([Vv])ariable (["'`])\$?(v\d+)\2|\bat "(v\d+)(?=[.[])|\$(v\d+)\b/g;

/** The values of variables, given by their normalized names, by the client's. */
export function byClientNames(
  { variableNames }: ClientDocument,
  variables: Readonly<Record<string, unknown>>,
): Readonly<Record<string, unknown>> {
  const given = [...variableNames].filter(([, normalized]) => Object.hasOwn(variables, normalized));
  return Object.fromEntries(given.map(([name, normalized]) => [name, variables[normalized]] as const));
}

/** A response name that the planner made to keep apart what one name stands for. */
const PLANNER_ALIAS = /^(\w+?)__alias_\d+$/;

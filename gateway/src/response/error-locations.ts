import { type FieldNode, Kind, type SelectionSetNode, type SourceLocation, type ValueNode } from 'graphql';
import type { ArgumentUse } from '../lib/error-list.js';
import type { Path } from '../lib/json.js';
import { SourceLines } from '../operation/index.js';
import type { ClientFields, ClientPlace } from './client-fields.js';
import type { ClientOperation } from './client-operation.js';

/** The most locations that one error lists. */
const MAX_LOCATIONS = 20;

/** Locates errors in a client's text. */
export class ErrorLocations {
  readonly #lines: SourceLines;
  readonly #operation: ClientOperation;
  readonly #fields: ClientFields;
  readonly #clientVariables: Readonly<Record<string, unknown>>;

  /** @param clientVariables the variables as the client sent them */
  constructor(
    query: string,
    operation: ClientOperation,
    fields: ClientFields,
    clientVariables: Readonly<Record<string, unknown>>,
  ) {
    this.#lines = new SourceLines(query);
    this.#operation = operation;
    this.#fields = fields;
    this.#clientVariables = clientVariables;
  }

  /** Returns the locations of an error's arguments, or else of its field; undefined when the text has neither. */
  of(place: ClientPlace | undefined, uses: readonly ArgumentUse[]): readonly SourceLocation[] | undefined {
    if (!place) return undefined;
    // A field that the client did not select has none of the client's arguments.
    const values = place.isSelected ? uses.flatMap((use) => this.#valuesOf(place, use)) : [];
    const nodes = values.length > 0 ? values : place.nodes;
    const starts = nodes.slice(0, MAX_LOCATIONS).flatMap(({ loc }) => loc?.start ?? []);
    return starts.length > 0 ? starts.map((start) => this.#lines.locationOf(start)) : undefined;
  }

  /** The values in the client's text that an argument of the plan comes from. */
  #valuesOf(place: ClientPlace, { fields, argument, within }: ArgumentUse): readonly ValueNode[] {
    // The first of the fields is the one at the place.
    let nodes = place.nodes;
    for (const planName of fields.slice(1)) {
      const name = this.#fields.clientName(planName);
      const below = nodes.flatMap(({ selectionSet }) => this.#fieldsIn(selectionSet));
      nodes = below.filter(({ alias, name: fieldName }) => (alias ?? fieldName).value === name);
    }
    return nodes.flatMap(({ arguments: list = [] }) =>
      list.filter(({ name }) => name.value === argument).map(({ value }) => this.#valueWithin(value, within)),
    );
  }

  #fieldsIn(selectionSet: SelectionSetNode | undefined, spread: readonly string[] = []): readonly FieldNode[] {
    return (selectionSet?.selections ?? []).flatMap((selection) => {
      if (selection.kind === Kind.FIELD) return [selection];
      if (selection.kind === Kind.INLINE_FRAGMENT) return this.#fieldsIn(selection.selectionSet, spread);
      const { value } = selection.name;
      const fragment = this.#operation.fragments[value];
      return spread.includes(value) ? [] : this.#fieldsIn(fragment?.selectionSet, [...spread, value]);
    });
  }

  /** The value at a path inside of an argument's value, as deep as the text has it. */
  #valueWithin(value: ValueNode, [key, ...rest]: Path): ValueNode {
    if (value.kind === Kind.VARIABLE) {
      // A variable that the client did not send has its value in the text: the default.
      if (Object.hasOwn(this.#clientVariables, value.name.value)) return value;
      const { variableDefinitions } = this.#operation.definition ?? {};
      const definition = variableDefinitions?.find(({ variable }) => variable.name.value === value.name.value);
      return definition?.defaultValue ?? value;
    }
    if (key === undefined) return value;
    const inner =
      value.kind === Kind.LIST
        ? value.values[Number(key)]
        : value.kind === Kind.OBJECT
          ? value.fields.find(({ name }) => name.value === key)?.value
          : undefined;
    return inner ? this.#valueWithin(inner, rest) : value;
  }
}

import type { ArgumentUse, ResponseError } from '../lib/error-list.js';
import { withoutSuggestions } from '../operation/index.js';
import type { ClientFields } from './client-fields.js';
import type { ErrorContext } from './error-context.js';

/** The longest part of a literal that a message quotes, in characters. */
const MAX_LITERAL = 200;
/** Names of the protocol between gateway and subgraphs: the fields and types by which entities are fetched. */
const PROTOCOL = /\b_entities\b|\b_Entity\b|\b_Any\b|\$representations/;
/** Variables in messages: `Variable "$v0"`, `at "v0.part"`, `$v0`. */
const VARIABLES = /\b([Vv])ariable (["'`])\$?(v\d+)\2|\bat "(v\d+)(?=[.[])|\$(v\d+)\b/g;

/** Converts subgraphs' messages, which refer to the plan's names, to the client's names. */
export class ErrorMessages {
  readonly #context: ErrorContext;
  readonly #fields: ClientFields;
  /** The client's names of variables, by normalized name. */
  readonly #variableNames: ReadonlyMap<string, string>;

  constructor(context: ErrorContext, fields: ClientFields) {
    this.#context = context;
    this.#fields = fields;
    const { variableNames } = context.document;
    this.#variableNames = new Map([...variableNames].map(([name, normalized]) => [normalized, name]));
  }

  /**
   * Returns the message for the client. Messages that are written for clients stay as they are: they may quote anything.
   *
   * @param isSelected whether the client selected the field at which the error is
   */
  of({ message, author, uses = [], extensions: { subgraph } }: ResponseError, isSelected: boolean): string {
    if (author === undefined || author === 'coded resolver') return message;
    if (PROTOCOL.test(message)) return `The subgraph "${subgraph}" could not resolve the requested objects.`;
    // In a resolver's message about a selected field, a name that looks like a hidden field may be the client's own value.
    if ((author === 'server' || !isSelected) && namesHiddenField(message, this.#context)) {
      return `The subgraph "${subgraph}" could not resolve a field of the requested object.`;
    }
    const withVariables = author === 'server' ? this.#withClientVariables(message, uses) : message;
    const converted = withVariables.replace(/\w+/g, (word) => this.#fields.clientName(word) ?? word);
    return this.#context.suggestions ? converted : withoutSuggestions(converted);
  }

  #withClientVariables(message: string, [use]: readonly ArgumentUse[]): string {
    const { literals } = this.#context.document;
    // In one pass: a name of the client's variables may be the normalized name of another.
    return message.replace(VARIABLES, (whole, initial: string, mark: string, ...[of, at, other]: string[]) => {
      const normalized = of ?? at ?? other ?? '';
      const name = this.#variableNames.get(normalized);
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

/** Whether a message names a field of the graph that the client's schema does not have (`@inaccessible`). */
function namesHiddenField(message: string, { schema, types }: ErrorContext): boolean {
  for (const [, typeName = '', field = ''] of message.matchAll(/\b([A-Za-z_]\w{0,200})\.(\w{1,200})/g)) {
    const type = schema.getType(typeName);
    const isPublic = type && 'getFields' in type && Object.hasOwn(type.getFields(), field);
    if (!isPublic && types.hasField(typeName, field)) return true;
  }
  return false;
}

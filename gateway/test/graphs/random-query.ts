import {
  type GraphQLArgument,
  type GraphQLField,
  type GraphQLNamedType,
  type GraphQLObjectType,
  type GraphQLSchema,
  getNamedType,
  isAbstractType,
  isCompositeType,
  isInputObjectType,
  isInterfaceType,
  isNonNullType,
  isObjectType,
} from 'graphql';
import type { Random } from '../../../test/harness/random.ts';

export interface RandomQuery {
  readonly query: string;
  readonly variables: Record<string, unknown>;
}

const MAX_DEPTH = 5;

/** Writes queries that a schema allows (mostly: validate them), with aliases, fragments, abstract types, variables and conditions. */
export class QueryWriter {
  readonly #schema: GraphQLSchema;
  readonly #random: Random;
  /** Values for arguments of type ID. */
  readonly #ids: readonly string[];
  readonly #fieldNames: readonly string[];
  #names = 0;
  #variables: { declaration: string; name: string; value: unknown }[] = [];
  #fragments: string[] = [];

  constructor(schema: GraphQLSchema, random: Random, ids: readonly string[]) {
    this.#schema = schema;
    this.#random = random;
    this.#ids = ids;
    this.#fieldNames = Object.values(schema.getTypeMap())
      .filter((type) => !type.name.startsWith('__'))
      .flatMap((type) => ('getFields' in type && !isInputObjectType(type) ? Object.keys(type.getFields()) : []));
  }

  /** @param name the operation's; an empty one makes it anonymous */
  write(name = 'Random'): RandomQuery {
    this.#variables = [];
    this.#fragments = [];
    const selection = this.#selectionSet(this.#schema.getQueryType() as GraphQLObjectType, 0);
    const declared = this.#variables.map(({ declaration }) => declaration).join(', ');
    return {
      query: `query ${name}${declared ? `(${declared})` : ''} ${selection}\n${this.#fragments.join('\n')}`,
      variables: Object.fromEntries(this.#variables.map(({ name, value }) => [name, value])),
    };
  }

  #selectionSet(type: GraphQLNamedType, depth: number): string {
    const parts: string[] = [];
    if (this.#chance(0.3)) parts.push(`${this.#alias()}__typename${this.#condition()}`);
    if (isObjectType(type) || isInterfaceType(type)) {
      const fields = Object.values(type.getFields()).filter(
        (field) => depth < MAX_DEPTH || !isCompositeType(getNamedType(field.type)),
      );
      for (let n = 1 + this.#random.below(4); n > 0 && fields.length > 0; n--) {
        parts.push(this.#field(this.#random.pick(fields), depth));
      }
    }
    if (isAbstractType(type)) {
      for (const possible of this.#schema.getPossibleTypes(type)) {
        if (this.#chance(0.6)) parts.push(this.#fragment(possible, depth));
      }
    } else if (isObjectType(type) && this.#chance(0.15)) {
      parts.push(this.#fragment(this.#random.pick([type, ...type.getInterfaces()]), depth));
    }
    return parts.length > 0 ? `{ ${parts.join(' ')} }` : '{ __typename }';
  }

  #fragment(type: GraphQLNamedType, depth: number): string {
    const selection = this.#selectionSet(type, depth + 1);
    if (this.#chance(0.3)) {
      const name = `F${this.#names++}`;
      this.#fragments.push(`fragment ${name} on ${type.name} ${selection}`);
      return `...${name}${this.#condition()}`;
    }
    return `... on ${type.name}${this.#condition()} ${selection}`;
  }

  #field(field: GraphQLField<unknown, unknown>, depth: number): string {
    const type = getNamedType(field.type);
    const args = field.args.flatMap((arg) => this.#argument(arg));
    const selection = isCompositeType(type) ? ` ${this.#selectionSet(type, depth + 1)}` : '';
    const given = args.length > 0 ? `(${args.join(', ')})` : '';
    const alias = args.length > 0 && this.#chance(0.7) ? `a${this.#names++}: ` : this.#alias();
    return `${alias}${field.name}${given}${this.#condition()}${selection}`;
  }

  #argument(arg: GraphQLArgument): string[] {
    if (!isNonNullType(arg.type) && this.#chance(0.4)) return [];
    const type = getNamedType(arg.type).name;
    const input = getNamedType(arg.type);
    const value = isInputObjectType(input)
      ? { id: this.#random.pick(this.#ids) }
      : type === 'ID'
        ? this.#random.pick(this.#ids)
        : type === 'Int'
          ? this.#random.below(5)
          : type === 'String'
            ? this.#random.pick(['USD', 'EUR', 'GBP'])
            : this.#chance(0.5);
    if (this.#chance(0.5)) if (typeof value !== 'object') return [`${arg.name}: ${JSON.stringify(value)}`];
    return [`${arg.name}: $${this.#variable(String(arg.type), value)}`];
  }

  #condition(): string {
    if (!this.#chance(0.08)) return '';
    const value = this.#chance(0.5);
    const given = this.#chance(0.5) ? String(value) : `$${this.#variable('Boolean!', value)}`;
    return ` @${this.#random.pick(['skip', 'include'])}(if: ${given})`;
  }

  #variable(type: string, value: unknown): string {
    const name = `v${this.#names++}`;
    this.#variables.push({ declaration: `$${name}: ${type}`, name, value });
    return name;
  }

  /** Now and then another name: a new one, one that was given before, or that of some other field. */
  #alias(): string {
    if (!this.#chance(0.25)) return '';
    if (this.#chance(0.4)) return `${this.#random.pick(this.#fieldNames)}: `;
    return `a${this.#chance(0.3) ? this.#random.below(3) : this.#names++}: `;
  }

  #chance(share: number): boolean {
    return this.#random.next() < share;
  }
}

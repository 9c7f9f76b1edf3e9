import { type GraphQLSchema, isAbstractType, isInterfaceType, isObjectType } from 'graphql';

/** Says whether a type, by its name, falls under a type condition; answers are remembered, for there are few. */
export class TypeConditions {
  readonly #schema: GraphQLSchema;
  readonly #known = new Map<string, boolean>();

  constructor(schema: GraphQLSchema) {
    this.#schema = schema;
  }

  holds(condition: string, typeName: string): boolean {
    if (condition === typeName) return true;
    const key = `${condition} ${typeName}`;
    let known = this.#known.get(key);
    if (known === undefined) {
      known = this.#decide(condition, typeName);
      // A subgraph can make up names without end.
      if (this.isKnown(typeName)) this.#known.set(key, known);
    }
    return known;
  }

  /** Whether there is a type of this name. */
  isKnown(typeName: string): boolean {
    return this.#schema.getType(typeName) !== undefined;
  }

  /** Whether an object can be of this type; an interface's name is all that a subgraph knows that has but the interface. */
  isObject(typeName: unknown): boolean {
    return typeof typeName === 'string' && isObjectType(this.#schema.getType(typeName));
  }

  /** Whether a type has a field; an `@inaccessible` one, too. */
  hasField(typeName: string, field: string): boolean {
    const type = this.#schema.getType(typeName);
    return (isObjectType(type) || isInterfaceType(type)) && Object.hasOwn(type.getFields(), field);
  }

  #decide(condition: string, typeName: string): boolean {
    const type = this.#schema.getType(typeName);
    const wanted = this.#schema.getType(condition);
    if (!isAbstractType(wanted) || !(isObjectType(type) || isInterfaceType(type))) return false;
    return this.#schema.isSubType(wanted, type);
  }
}

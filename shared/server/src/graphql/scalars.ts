import Big from 'big.js';
import { GraphQLError, GraphQLScalarType, Kind, print, type ValueNode } from 'graphql';
import { isCalendarDay } from './calendar-day.js';
import { findJsonFault, MAX_JSON_DEPTH } from './json-value.js';

const DECIMAL = /^-?\d{1,16}(\.\d{1,8})?$/;
/** RFC 3339 without leap seconds, which a `Date` does not have. */
const RFC_3339 =
  /^\d{4}-\d{2}-\d{2}T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,9})?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)$/i;
/** What both RFC 3339 and PostgreSQL can write; the year 0000 is unknown to PostgreSQL. */
const FIRST_MOMENT = Date.parse('0001-01-01T00:00:00Z');
const LAST_MOMENT = Date.parse('9999-12-31T23:59:59.999Z');
const SHOWN_LENGTH = 100;

/** The URLs of the scalars' specifications. Composition preserves them, so the gateway recognizes these scalars by them. */
const SPECIFICATION = 'https://tributary.dev/scalars/v0.1/';

/** An exact decimal number, always a string on the wire. */
export const Decimal = new GraphQLScalarType<string, string>({
  name: 'Decimal',
  specifiedByURL: `${SPECIFICATION}decimal`,
  description: 'An exact decimal number as a string: "261.96". At most 16 digits before the point and 8 after.',
  serialize: (value) => (value instanceof Big ? value.toFixed() : String(value)),
  parseValue: parseDecimal,
  parseLiteral(node) {
    // A float literal may have been through a binary float on its way here.
    const isRead = node.kind === Kind.STRING || node.kind === Kind.INT;
    return at(node, () => (isRead ? parseDecimal(node.value) : refuseDecimal(describeLiteral(node))));
  },
});

function parseDecimal(value: unknown): string {
  // A JSON number has been through a binary float already, so only whole ones are taken.
  if (typeof value === 'number' && Number.isSafeInteger(value)) return String(value);
  if (typeof value === 'string' && DECIMAL.test(value)) return value;
  return refuseDecimal(describe(value));
}

function refuseDecimal(given: string): never {
  throw new GraphQLError(`Decimal must be a string such as "261.96"; got ${given}.`);
}

/** A moment in time; in code a `Date`, on the wire RFC 3339 in UTC. */
export const DateTime = new GraphQLScalarType<Date, string>({
  name: 'DateTime',
  specifiedByURL: `${SPECIFICATION}date-time`,
  description:
    'A moment in time, RFC 3339: "2016-11-08T00:00:00.000Z", in the years 0001 to 9999 (UTC). Responses are always in UTC.',
  serialize(value) {
    const date = value instanceof Date ? value : new Date(String(value));
    return date.toISOString();
  },
  parseValue: parseDateTime,
  parseLiteral(node) {
    const isRead = node.kind === Kind.STRING;
    return at(node, () => (isRead ? parseDateTime(node.value) : refuseDateTime(describeLiteral(node))));
  },
});

function parseDateTime(value: unknown): Date {
  if (typeof value === 'string' && RFC_3339.test(value) && isCalendarDay(value.slice(0, 10))) {
    const date = new Date(value);
    if (date.getTime() >= FIRST_MOMENT && date.getTime() <= LAST_MOMENT) return date;
  }
  return refuseDateTime(describe(value));
}

function refuseDateTime(given: string): never {
  throw new GraphQLError(`DateTime must be RFC 3339 with a time zone, such as "2016-11-08T00:00:00Z"; got ${given}.`);
}

/** Any JSON value that can be stored and read again. */
export const JSONValue = new GraphQLScalarType<unknown, unknown>({
  name: 'JSON',
  specifiedByURL: `${SPECIFICATION}json`,
  description: `Any JSON value, nested at most ${MAX_JSON_DEPTH} levels deep.`,
  serialize: (value) => value,
  parseValue: parseJson,
  parseLiteral: (node, variables) => at(node, () => parseJson(readLiteral(node, variables ?? {}, 0))),
});

function parseJson(value: unknown): unknown {
  const fault = findJsonFault(value, MAX_JSON_DEPTH);
  if (fault) {
    const extensions = { code: 'BAD_USER_INPUT', reason: fault.reason } as const;
    throw new GraphQLError(`A JSON value ${fault.problem}.`, { extensions });
  }
  return value;
}

/** Reads a literal down to one level more than is accepted. */
function readLiteral(node: ValueNode, variables: Readonly<Record<string, unknown>>, depth: number): unknown {
  switch (node.kind) {
    case Kind.NULL:
      return null;
    case Kind.BOOLEAN:
    case Kind.STRING:
      return node.value;
    case Kind.ENUM:
      throw new GraphQLError(`A JSON value has no enum values; got ${node.value}.`, { nodes: node });
    case Kind.INT:
    case Kind.FLOAT:
      return Number(node.value);
    case Kind.VARIABLE:
      return variables[node.name.value];
    case Kind.LIST:
      if (depth === MAX_JSON_DEPTH) return [];
      return node.values.map((item) => readLiteral(item, variables, depth + 1));
    case Kind.OBJECT:
      if (depth === MAX_JSON_DEPTH) return {};
      return Object.fromEntries(
        node.fields.map(({ name, value }) => [name.value, readLiteral(value, variables, depth + 1)]),
      );
  }
}

/** Parses a literal; an error that lacks a place gets that of the literal. */
function at<Value>(node: ValueNode, parse: () => Value): Value {
  try {
    return parse();
  } catch (error) {
    if (!(error instanceof GraphQLError) || error.nodes) throw error;
    throw new GraphQLError(error.message, { nodes: node, extensions: error.extensions });
  }
}

/** The scalars of the services, which the gateway checks as well. */
export const SCALARS: readonly GraphQLScalarType[] = [DateTime, Decimal, JSONValue];

/** A value for an error message; what is long or nested is not repeated. */
function describe(value: unknown): string {
  if (typeof value === 'string' && value.length > SHOWN_LENGTH) return `a string of ${value.length} characters`;
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'a list' : 'an object';
  return JSON.stringify(value) ?? String(value);
}

function describeLiteral(node: ValueNode): string {
  if (node.kind === Kind.LIST) return 'a list';
  if (node.kind === Kind.OBJECT) return 'an object';
  const text = print(node);
  return text.length > SHOWN_LENGTH ? `a literal of ${text.length} characters` : text;
}

import Big from 'big.js';
import { GraphQLError, GraphQLScalarType, Kind } from 'graphql';
import { GraphQLJSON } from 'graphql-scalars';
import { isCalendarDay } from './calendar-day.js';

const DECIMAL = /^-?\d{1,16}(\.\d{1,8})?$/;
const RFC_3339 = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})$/i;

/** Where the scalars are specified. The gateway knows by these URLs, which composition keeps, that a scalar is one of these. */
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
    if (node.kind === Kind.STRING || node.kind === Kind.INT) return parseDecimal(node.value);
    throw new GraphQLError('Decimal wants a string such as "261.96".', { nodes: node });
  },
});

function parseDecimal(value: unknown): string {
  // A JSON number has been through a binary float already, so only whole ones are taken.
  if (typeof value === 'number' && Number.isSafeInteger(value)) return String(value);
  if (typeof value === 'string' && DECIMAL.test(value)) return value;
  throw new GraphQLError(`Decimal wants a string such as "261.96", got ${JSON.stringify(value)}.`);
}

/** A moment in time; in code a `Date`, on the wire RFC 3339 in UTC. */
export const DateTime = new GraphQLScalarType<Date, string>({
  name: 'DateTime',
  specifiedByURL: `${SPECIFICATION}date-time`,
  description: 'A moment in time, RFC 3339: "2016-11-08T00:00:00.000Z". Answers are always in UTC.',
  serialize(value) {
    const date = value instanceof Date ? value : new Date(String(value));
    return date.toISOString();
  },
  parseValue: parseDateTime,
  parseLiteral(node) {
    if (node.kind === Kind.STRING) return parseDateTime(node.value);
    throw new GraphQLError('DateTime wants a string such as "2016-11-08T00:00:00Z".', { nodes: node });
  },
});

function parseDateTime(value: unknown): Date {
  if (typeof value === 'string' && RFC_3339.test(value)) {
    const date = new Date(value);
    if (!Number.isNaN(date.getTime()) && isCalendarDay(value.slice(0, 10))) return date;
  }
  throw new GraphQLError(
    `DateTime wants RFC 3339 with a time zone, such as "2016-11-08T00:00:00Z", got ${JSON.stringify(value)}.`,
  );
}

/** Any JSON value. */
export const JSONValue = new GraphQLScalarType({
  ...GraphQLJSON.toConfig(),
  specifiedByURL: `${SPECIFICATION}json`,
});

/** The scalars of the services, which the gateway checks as well. */
export const SCALARS: readonly GraphQLScalarType[] = [DateTime, Decimal, JSONValue];

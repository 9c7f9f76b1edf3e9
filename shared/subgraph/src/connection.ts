import 'reflect-metadata';
import { badUserInput, isWellFormed } from '@tributary/server';
import { type ClassType, Directive, Field, Int, ObjectType } from 'type-graphql';
import { z } from 'zod';
import { MAX_INT } from './counters.js';

/** The most nodes that one page may hold. */
export const MAX_PAGE_SIZE = 100;

/** A place in a keyset order: the sort values of a row, its unique id last. */
export type KeysetPosition = readonly (string | number)[];

/** What a sort value must be, for a cursor to be believed. Dates are ISO 8601 in UTC, as `Date` writes them. */
export type PositionType = 'string' | 'number' | 'integer' | 'date';

/** One page asked for: how many nodes, and the position after which it starts. */
export interface PageRequest {
  readonly first: number;
  readonly after: KeysetPosition | null;
}

/** The longest cursor that is read. Those of this graph hold a name or a price, and an id. */
const MAX_CURSOR_LENGTH = 8192;

const positionSchema = z.tuple([z.string()]).rest(z.union([z.string(), z.number()]));

/** Makes an opaque cursor. `order` names the sort order, so that a cursor of one order is refused in another. */
export function encodeCursor(order: string, position: KeysetPosition): string {
  return Buffer.from(JSON.stringify([order, ...position])).toString('base64url');
}

/**
 * Checks `first` and `after` as a client gave them.
 *
 * @param order name of the sort order, as given to `encodeCursor`
 * @param shape the type of each sort value, for instance `['string', 'string']`
 * @throws ApiError BAD_USER_INPUT naming the argument
 */
export function pageRequest(
  args: { first: number | null | undefined; after: string | null | undefined },
  order: string,
  shape: readonly PositionType[],
): PageRequest {
  const first = args.first ?? 20;
  if (!Number.isInteger(first) || first < 0 || first > MAX_PAGE_SIZE) {
    throw badUserInput('first', `"first" must be between 0 and ${MAX_PAGE_SIZE}, got ${first}.`, 'PAGE_SIZE');
  }
  if (args.after === null || args.after === undefined) return { first, after: null };
  return { first, after: decodeCursor(args.after, order, shape) };
}

function decodeCursor(cursor: string, order: string, shape: readonly PositionType[]): KeysetPosition {
  const broken = badUserInput('after', '"after" is not a cursor of this list.', 'CURSOR');
  if (cursor.length > MAX_CURSOR_LENGTH) throw broken;
  let parsed: unknown;
  try {
    parsed = JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8'));
  } catch {
    throw broken;
  }
  const result = positionSchema.safeParse(parsed);
  if (!result.success) throw broken;
  const [cursorOrder, ...position] = result.data;
  if (cursorOrder !== order) {
    throw badUserInput('after', `"after" is a cursor of another sort order (expected ${order}).`, 'CURSOR');
  }
  const fits = position.length === shape.length && position.every((value, i) => fitsType(value, shape[i]));
  if (!fits) throw broken;
  return position;
}

function fitsType(value: string | number, type: PositionType | undefined): boolean {
  switch (type) {
    case 'date':
      return typeof value === 'string' && isStoredDate(value);
    case 'integer':
      return Number.isSafeInteger(value);
    case 'number':
      return Number.isFinite(value);
    case 'string':
      // PostgreSQL stores neither NUL nor a lone surrogate, so no cursor of ours has one.
      return typeof value === 'string' && !value.includes('\0') && isWellFormed(value);
    default:
      return false;
  }
}

/** Whether a text is a date that exists, as `Date` writes it, from the year 1 on: PostgreSQL has no year 0. */
function isStoredDate(text: string): boolean {
  const date = new Date(text);
  return !Number.isNaN(date.getTime()) && date.toISOString() === text && /^\d{4}-/.test(text) && text >= '0001';
}

/** A count as an Int shows it: at most 2,147,483,647, however much is stored. */
export function toInt(count: number | string): number {
  return Math.min(Number(count), MAX_INT);
}

@Directive('@shareable')
@ObjectType({ simpleResolvers: true })
export class PageInfo {
  @Field(() => Boolean) hasNextPage!: boolean;
  @Field(() => Boolean) hasPreviousPage!: boolean;
  @Field(() => String, { nullable: true }) startCursor!: string | null;
  @Field(() => String, { nullable: true }) endCursor!: string | null;
}

export interface Edge<T> {
  readonly node: T;
  readonly cursor: string;
}

/** A page of a connection. The total is counted only when a client asks for it. */
export class Page<T> {
  readonly edges: readonly Edge<T>[];
  readonly pageInfo: PageInfo;
  readonly totalCount: () => Promise<number>;

  /**
   * @param rows at most `request.first + 1` rows in order; the extra one says that there is a next page
   * @param cursorOf the cursor of a row
   * @param totalCount counts all rows of the list, whatever the page
   */
  constructor(
    request: PageRequest,
    rows: readonly T[],
    cursorOf: (row: T) => string,
    totalCount: () => Promise<number>,
  ) {
    this.edges = rows.slice(0, request.first).map((node) => ({ node, cursor: cursorOf(node) }));
    this.totalCount = async () => toInt(await totalCount());
    this.pageInfo = {
      hasNextPage: rows.length > request.first,
      hasPreviousPage: request.after !== null,
      startCursor: this.edges.at(0)?.cursor ?? null,
      endCursor: this.edges.at(-1)?.cursor ?? null,
    };
  }

  get nodes(): readonly T[] {
    return this.edges.map((edge) => edge.node);
  }
}

/** Declares `<name>Connection` and `<name>Edge` for a node type. */
export function connectionOf<T extends object>(node: () => ClassType<T>, name: string): ClassType<Page<T>> {
  @ObjectType(`${name}Edge`, { simpleResolvers: true })
  class NodeEdge {
    @Field(node) node!: T;
    @Field(() => String) cursor!: string;
  }

  @ObjectType(`${name}Connection`, { simpleResolvers: true })
  class Connection {
    @Field(() => [NodeEdge]) edges!: NodeEdge[];
    @Field(() => [node()]) nodes!: T[];
    @Field(() => PageInfo) pageInfo!: PageInfo;
    @Field(() => Int, { description: 'The number of all matches, not only of this page. Counted only when selected.' })
    totalCount!: number;
  }

  return Connection as unknown as ClassType<Page<T>>;
}

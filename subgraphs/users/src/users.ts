import { randomUUID } from 'node:crypto';
import type { Origin } from '@tributary/bus';
import { eraseFromEvents, recordEvents } from '@tributary/events';
import { violatedUniqueConstraint } from '@tributary/postgres';
import { badUserInput, conflict, notFound } from '@tributary/server';
import { DELETED_USER, MAX_COUNTER, optionalLine, type PageRequest, requireId, requireLine } from '@tributary/subgraph';
import { type Kysely, type SqlBool, sql } from 'kysely';
import type { AddressRow, UserRow, UserStatusName, UsersTables } from './storage/tables.js';
import { PERSONAL_FIELDS, userEvent } from './user-events.js';

const EMAIL = /^[^\s@]+@[^\s@]+\.[^\s@]+$/;

export interface NewUser {
  readonly name: string;
  readonly email: string;
  readonly segment?: string | null | undefined;
  readonly address?: NewAddress | null | undefined;
}

export interface NewAddress {
  readonly line?: string | null | undefined;
  readonly city: string;
  readonly state?: string | null | undefined;
  readonly postalCode?: string | null | undefined;
  readonly country: string;
  readonly region?: string | null | undefined;
}

export interface UserChanges {
  readonly name?: string | null | undefined;
  readonly email?: string | null | undefined;
  readonly status?: UserStatusName | null | undefined;
  /** The version that the client has seen; a newer one is a CONFLICT. */
  readonly expectedVersion?: number | null | undefined;
}

/** The e-mail address that every reader is shown of a deleted user, here and in every copy. */
export const DELETED_EMAIL = DELETED_USER.email;

/** The accounts of people: who they are, where they live. */
export class Users {
  readonly #db: Kysely<UsersTables>;

  constructor(db: Kysely<UsersTables>) {
    this.#db = db;
  }

  /** Users in the order of their names (deleted ones left out), one more than the page holds. */
  async list(page: PageRequest, search: string | null): Promise<UserRow[]> {
    let query = this.#db
      .selectFrom('users')
      .selectAll()
      .where('status', '<>', 'DELETED')
      .orderBy('name')
      .orderBy('id')
      .limit(page.first + 1);
    if (page.after) {
      const [name, id] = page.after;
      query = query.where(sql<SqlBool>`(name, id) > (${name}, ${id})`);
    }
    if (search !== null) query = query.where(matches(search));
    return query.execute();
  }

  async count(search: string | null): Promise<number> {
    if (search === null) {
      const row = await this.#db
        .selectFrom('row_counts')
        .select('count')
        .where('name', '=', 'users')
        .executeTakeFirstOrThrow();
      return row.count;
    }
    const row = await this.#db
      .selectFrom('users')
      .select((eb) => eb.fn.countAll<number>().as('count'))
      .where('status', '<>', 'DELETED')
      .where(matches(search))
      .executeTakeFirstOrThrow();
    return row.count;
  }

  async byIds(ids: readonly string[]): Promise<UserRow[]> {
    return this.#db.selectFrom('users').selectAll().where(sql<SqlBool>`id = any(${ids})`).execute();
  }

  async addressesOf(userIds: readonly string[]): Promise<AddressRow[]> {
    return this.#db
      .selectFrom('addresses')
      .selectAll()
      .where(sql<SqlBool>`user_id = any(${userIds})`)
      .orderBy('user_id')
      .orderBy('position')
      .execute();
  }

  /** @throws ApiError BAD_USER_INPUT, or CONFLICT (EMAIL_TAKEN) */
  async register(input: NewUser, origin: Origin): Promise<UserRow> {
    const user = {
      id: randomUUID(),
      name: requireLine('name', input.name),
      email: requireEmail(input.email),
      segment: optionalLine('segment', input.segment, 100),
    };
    const address = input.address ? requireAddress(input.address) : null;
    return this.#refusingTakenEmail(user.email, async (transaction) => {
      const row = await transaction.insertInto('users').values(user).returningAll().executeTakeFirstOrThrow();
      await transaction.insertInto('accounts').values({ user_id: row.id }).execute();
      if (address)
        await transaction
          .insertInto('addresses')
          .values({ user_id: row.id, position: 0, ...address })
          .execute();
      await recordEvents(transaction, [userEvent('UserRegistered', row)], origin);
      return row;
    });
  }

  /**
   * Changes what is given; a change that changes nothing leaves the version as it is.
   *
   * @throws ApiError NOT_FOUND, BAD_USER_INPUT, or CONFLICT (STALE_VERSION, USER_DELETED, EMAIL_TAKEN, VERSION_LIMIT)
   */
  async update(id: string, changes: UserChanges, origin: Origin): Promise<UserRow> {
    if (changes.status === 'DELETED') {
      throw badUserInput('status', 'A user is deleted with deleteUser, which also erases personal data.');
    }
    const name = changes.name == null ? null : requireLine('name', changes.name);
    const email = changes.email == null ? null : requireEmail(changes.email);
    return this.#refusingTakenEmail(email, async (transaction) => {
      const before = await lockUser(transaction, id);
      if (changes.expectedVersion != null && changes.expectedVersion !== before.version) {
        throw conflict(
          'STALE_VERSION',
          `User "${id}" is at version ${before.version}, not ${changes.expectedVersion}: it was changed meanwhile.`,
          'expectedVersion',
        );
      }
      if (before.status === 'DELETED') throw conflict('USER_DELETED', `User "${id}" was deleted.`, 'id');
      const after = {
        name: name ?? before.name,
        email: email ?? before.email,
        status: changes.status ?? before.status,
      };
      const changed = after.name !== before.name || after.email !== before.email || after.status !== before.status;
      if (!changed) return before;
      if (before.version >= MAX_COUNTER) throw conflict('VERSION_LIMIT', `User "${id}" was changed too often.`, 'id');
      const saved = await saveUser(transaction, before, after);
      await recordEvents(transaction, [userEvent('UserUpdated', saved)], origin);
      return saved;
    });
  }

  /**
   * Erases what is personal, here and in every past event, and keeps the id, which orders refer to. Deleting twice is the
   * same as once.
   *
   * @throws ApiError NOT_FOUND
   */
  async delete(id: string, origin: Origin): Promise<UserRow> {
    return this.#db.transaction().execute(async (transaction) => {
      const before = await lockUser(transaction, id);
      if (before.status === 'DELETED') return before;
      await transaction.deleteFrom('addresses').where('user_id', '=', id).execute();
      const deleted = await saveUser(transaction, before, {
        name: DELETED_USER.name,
        // Unique, as the column requires; readers are shown DELETED_EMAIL.
        email: `${randomUUID()}@deleted.invalid`,
        status: 'DELETED',
        segment: null,
      });
      await eraseFromEvents(transaction, 'User', id, PERSONAL_FIELDS);
      await recordEvents(transaction, [userEvent('UserDeleted', deleted)], origin);
      return deleted;
    });
  }

  async #refusingTakenEmail<T>(
    email: string | null,
    run: (transaction: Kysely<UsersTables>) => Promise<T>,
  ): Promise<T> {
    try {
      return await this.#db.transaction().execute(run);
    } catch (error) {
      if (violatedUniqueConstraint(error) !== 'users_email_key') throw error;
      throw conflict('EMAIL_TAKEN', `Another user has the e-mail address "${email}".`, 'email');
    }
  }
}

async function lockUser(transaction: Kysely<UsersTables>, id: string): Promise<UserRow> {
  const row = await transaction
    .selectFrom('users')
    .selectAll()
    .where('id', '=', requireId('id', id))
    .forUpdate()
    .executeTakeFirst();
  if (!row) throw notFound('user', id);
  return row;
}

async function saveUser(
  transaction: Kysely<UsersTables>,
  before: UserRow,
  after: Partial<Pick<UserRow, 'name' | 'email' | 'status' | 'segment'>>,
): Promise<UserRow> {
  return transaction
    .updateTable('users')
    .set({ ...after, updated_at: new Date(), version: before.version + 1 })
    .where('id', '=', before.id)
    .returningAll()
    .executeTakeFirstOrThrow();
}

function requireEmail(value: string): string {
  const email = requireLine('email', value, 320);
  if (!EMAIL.test(email)) throw badUserInput('email', `"${email}" is not an e-mail address.`, 'EMAIL');
  return email;
}

function requireAddress(address: NewAddress) {
  return {
    line: optionalLine('address.line', address.line),
    city: requireLine('address.city', address.city),
    state: optionalLine('address.state', address.state),
    postal_code: optionalLine('address.postalCode', address.postalCode, 20),
    country: requireLine('address.country', address.country),
    region: optionalLine('address.region', address.region),
  };
}

/**
 * Every word of the search starts a word of the name or the e-mail address. A search whose letters the database takes for none
 * (it may know an older Unicode) limits nothing.
 */
function matches(search: string) {
  return sql<SqlBool>`(search_prefixes(${search}) is null or search @@ search_prefixes(${search}))`;
}

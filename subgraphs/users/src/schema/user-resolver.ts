import { encodeCursor, optionalSearch, Page, PLACEHOLDER_DATE, pageRequest, UNKNOWN_USER } from '@tributary/subgraph';
import { Arg, Ctx, Directive, FieldResolver, ID, Int, Mutation, Query, Resolver, Root } from 'type-graphql';
import type { UsersContext } from '../context.js';
import type { UserRow } from '../storage/tables.js';
import { DELETED_EMAIL, type Users } from '../users.js';
import {
  Account,
  Address,
  RegisterUserInput,
  UpdateUserInput,
  User,
  UserConnection,
  UserStatus,
} from './user-types.js';

const BY_NAME = 'users:name';

@Resolver(() => User)
export class UserResolver {
  readonly #users: Users;

  constructor(users: Users) {
    this.#users = users;
  }

  @Directive('@cacheControl(scope: "PRIVATE")')
  @Query(() => User, {
    nullable: true,
    description: 'The user that the bearer token identifies; null without a token.',
  })
  async me(@Ctx() context: UsersContext): Promise<User | null> {
    const viewer = await context.viewer();
    return viewer ? findUser(context, viewer.userId) : null;
  }

  @Directive('@cacheControl')
  @Query(() => User, { nullable: true })
  async user(@Arg('id', () => ID) id: string, @Ctx() context: UsersContext): Promise<User | null> {
    return findUser(context, id);
  }

  @Directive('@cacheControl(of: ["User"])')
  @Query(() => UserConnection, {
    description:
      'By name; deleted users are left out. `search` finds users by the starts of words in their names and e-mail addresses: at most 200 characters and 20 words; a search without a letter or digit does not filter.',
  })
  async users(
    @Arg('first', () => Int, { nullable: true, defaultValue: 20 }) first: number | null,
    @Arg('after', () => String, { nullable: true }) after: string | null | undefined,
    @Arg('search', () => String, { nullable: true }) search: string | null | undefined,
  ): Promise<Page<User>> {
    const page = pageRequest({ first, after }, BY_NAME, ['string', 'string']);
    const searched = optionalSearch('search', search);
    const rows = await this.#users.list(page, searched);
    return new Page(
      page,
      rows.map(showUser),
      (user) => encodeCursor(BY_NAME, [user.name, user.id]),
      () => this.#users.count(searched),
    );
  }

  @FieldResolver(() => [Address])
  async addresses(@Root() user: User, @Ctx() context: UsersContext): Promise<Address[]> {
    const rows = await context.addresses.load(user.id);
    return rows.map(({ postal_code, ...address }) => ({ ...address, postalCode: postal_code }));
  }

  @Directive('@cacheControl(scope: "PRIVATE")')
  @FieldResolver(() => Account)
  account(@Root() user: User): Account {
    return { userId: user.id };
  }

  @Mutation(() => User)
  async registerUser(
    @Arg('input', () => RegisterUserInput) input: RegisterUserInput,
    @Ctx() { origin }: UsersContext,
  ): Promise<User> {
    return showUser(await this.#users.register(input, origin));
  }

  @Mutation(() => User)
  async updateUser(
    @Arg('id', () => ID) id: string,
    @Arg('input', () => UpdateUserInput) input: UpdateUserInput,
    @Ctx() { origin }: UsersContext,
  ): Promise<User> {
    return showUser(await this.#users.update(id, input, origin));
  }

  @Mutation(() => User, {
    description: 'Erases the personal data of a user. The id remains, because orders refer to it.',
  })
  async deleteUser(@Arg('id', () => ID) id: string, @Ctx() { origin }: UsersContext): Promise<User> {
    return showUser(await this.#users.delete(id, origin));
  }
}

export async function findUser(context: UsersContext, id: string): Promise<User | null> {
  const row = await context.user.load(id);
  return row && showUser(row);
}

/** The user that another subgraph refers to. For an unknown id it is a placeholder, because an order outlives its customer. */
export async function resolveUser(context: UsersContext, id: string): Promise<User> {
  return (await findUser(context, id)) ?? unknownUser(id);
}

function unknownUser(id: string): User {
  return {
    id,
    ...UNKNOWN_USER,
    status: UserStatus.DELETED,
    segment: null,
    createdAt: PLACEHOLDER_DATE,
    updatedAt: PLACEHOLDER_DATE,
    version: 0,
  };
}

function showUser(row: UserRow): User {
  return {
    id: row.id,
    name: row.name,
    email: row.status === 'DELETED' ? DELETED_EMAIL : row.email,
    status: row.status as UserStatus,
    segment: row.segment,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    version: row.version,
  };
}

import type { Origin } from '@tributary/bus';
import { originOf } from '@tributary/events';
import type { GraphQLRequest } from '@tributary/server';
import {
  groupedLoader,
  loaderByArguments,
  type PageRequest,
  type ReadViewer,
  rowLoader,
  type Viewer,
} from '@tributary/subgraph';
import type { Accounts } from './accounts.js';
import type { Users } from './users.js';

/** What the resolvers of one request share. */
export interface UsersContext {
  /** Where commands of this request come from. */
  readonly origin: Origin;
  readonly viewer: () => Promise<Viewer | null>;
  readonly user: ReturnType<typeof userLoader>;
  readonly addresses: ReturnType<typeof addressLoader>;
  readonly account: ReturnType<typeof accountLoader>;
  readonly entries: ReturnType<typeof entryLoader>;
  readonly entryCount: ReturnType<typeof entryCountLoader>;
}

/** Fresh loaders for a request: what they hold never outlives it. */
export function createContext(
  users: Users,
  accounts: Accounts,
  readViewer: ReadViewer,
  request: GraphQLRequest,
): UsersContext {
  return {
    origin: originOf(request),
    viewer: () => readViewer(request.http.headers.authorization),
    user: userLoader(users),
    addresses: addressLoader(users),
    account: accountLoader(accounts),
    entries: entryLoader(accounts),
    entryCount: entryCountLoader(accounts),
  };
}

const userLoader = (users: Users) =>
  rowLoader(
    (ids: readonly string[]) => users.byIds(ids),
    (row) => row.id,
  );

const addressLoader = (users: Users) =>
  groupedLoader(
    (ids: readonly string[]) => users.addressesOf(ids),
    (row) => row.user_id,
  );

const accountLoader = (accounts: Accounts) =>
  rowLoader(
    (ids: readonly string[]) => accounts.ofUsers(ids),
    (row) => row.user_id,
  );

const entryCountLoader = (accounts: Accounts) =>
  rowLoader(
    (ids: readonly string[]) => accounts.entryCounts(ids),
    (row) => row.user_id,
  );

/** One loader per page asked for, so that fields with the same arguments share a statement. */
const entryLoader = (accounts: Accounts) =>
  loaderByArguments((page: PageRequest) =>
    groupedLoader(
      (ids: readonly string[]) => accounts.entriesOf(ids, page),
      (row) => row.user_id,
    ),
  );

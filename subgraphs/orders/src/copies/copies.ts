import {
  type ApplyEvents,
  type EventLogClient,
  eventLogClient,
  type RebuildableCopy,
  type VerifiableCopy,
} from '@tributary/events';
import type { OrdersTables } from '../storage/tables.js';
import { copyProductsTo } from './product-copy.js';
import { copyUsersTo } from './user-copy.js';

/** A copy that orders keeps of another service's data. */
export interface Copy extends RebuildableCopy<OrdersTables>, VerifiableCopy<OrdersTables> {
  readonly source: 'users' | 'products';
  readonly ownerUrl: string;
}

/** What is needed to reach the owners of the copies. */
export interface OwnerSettings {
  readonly USERS_URL: string;
  readonly PRODUCTS_URL: string;
  readonly INTERNAL_SECRET?: string | undefined;
}

/** Every copy that orders keeps. */
export function copiesOf({ USERS_URL, PRODUCTS_URL, INTERNAL_SECRET }: OwnerSettings): Copy[] {
  return [
    copy('users', 'User', USERS_URL, copyUsersTo, eventLogClient(USERS_URL, INTERNAL_SECRET)),
    copy('products', 'Product', PRODUCTS_URL, copyProductsTo, eventLogClient(PRODUCTS_URL, INTERNAL_SECRET)),
  ];
}

function copy(
  source: 'users' | 'products',
  aggregateType: string,
  ownerUrl: string,
  applyTo: (table: string) => ApplyEvents<OrdersTables>,
  eventLog: EventLogClient,
): Copy {
  const table = `${source}_copy`;
  return {
    source,
    aggregateType,
    ownerUrl,
    table,
    checksumView: `${table}_checksums`,
    eventLog,
    applyTo,
    apply: applyTo(table),
  };
}

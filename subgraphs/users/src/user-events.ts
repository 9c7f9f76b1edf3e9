import type { LoggedEvent } from '@tributary/bus';
import type { NewEvent } from '@tributary/events';
import type { UserRow } from './storage/tables.js';

/** What personal data an event of a user may hold; taken out of all of them when the user is deleted. */
export const PERSONAL_FIELDS = ['name', 'email', 'segment'] as const;

type UserEventType = 'UserRegistered' | 'UserUpdated' | 'UserDeleted';

/** Events of a user carry what the user is now, so that the newest alone is enough to make a copy. */
export function userEvent(type: UserEventType, user: UserRow): NewEvent {
  const { name, email, segment, status } = user;
  return {
    type,
    schemaVersion: 1,
    aggregateType: 'User',
    aggregateId: user.id,
    aggregateVersion: user.version,
    data: type === 'UserDeleted' ? { status, erased: true } : { name, email, segment, status },
  };
}

/** What moved on an account, and what it holds now. */
interface AccountMovement {
  readonly amount: string;
  readonly balance: string;
  readonly reason: string;
  readonly orderId?: string;
}

/** Money came to an account. */
export function accountCredited(userId: string, accountVersion: number, data: AccountMovement): NewEvent {
  return accountEvent('AccountCredited', userId, accountVersion, data);
}

/** Money went from an account. */
export function accountDebited(userId: string, accountVersion: number, data: AccountMovement): NewEvent {
  return accountEvent('AccountDebited', userId, accountVersion, data);
}

/** What became of an order's payment: the answer to its command. */
export function paymentEvent(
  type: 'PaymentCharged' | 'PaymentRefused' | 'PaymentRefunded',
  orderId: string,
  paymentVersion: number,
  data: Readonly<Record<string, unknown>>,
): NewEvent {
  return {
    type,
    schemaVersion: 1,
    aggregateType: 'Payment',
    aggregateId: orderId,
    aggregateVersion: paymentVersion,
    data,
  };
}

function accountEvent(type: string, userId: string, accountVersion: number, data: AccountMovement): NewEvent {
  return {
    type,
    schemaVersion: 1,
    aggregateType: 'Account',
    aggregateId: userId,
    aggregateVersion: accountVersion,
    data: { ...data },
  };
}

/** A user shows his account, too. */
export function invalidatedBy({ aggregateType, aggregateId }: LoggedEvent): string[] {
  return aggregateType === 'User' || aggregateType === 'Account' ? [`User:${aggregateId}`] : [];
}

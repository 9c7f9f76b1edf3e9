import type { NewEvent } from '@tributary/shared/events/outbox';
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

/** Money came to an account. */
export function accountCredited(
  userId: string,
  accountVersion: number,
  data: { readonly amount: string; readonly balance: string; readonly reason: string },
): NewEvent {
  return {
    type: 'AccountCredited',
    schemaVersion: 1,
    aggregateType: 'Account',
    aggregateId: userId,
    aggregateVersion: accountVersion,
    data,
  };
}

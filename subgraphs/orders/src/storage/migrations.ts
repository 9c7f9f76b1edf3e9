import type { Migrations } from '@tributary/postgres';
import { migration as m0001 } from './migrations/0001-order-events.js';
import { migration as m0002 } from './migrations/0002-read-models.js';
import { migration as m0003 } from './migrations/0003-copies.js';
import { migration as m0004 } from './migrations/0004-consumers.js';
import { migration as m0005 } from './migrations/0005-placement.js';
import { migration as m0006 } from './migrations/0006-keys-of-customers.js';
import { migration as m0007 } from './migrations/0007-relay-lease.js';
import { migration as m0008 } from './migrations/0008-copies-in-sync.js';
import { migration as m0009 } from './migrations/0009-shadows.js';
import { migration as m0010 } from './migrations/0010-beside-the-release-before.js';

/** The migrations of the database. Each file is frozen: a released one is never edited, a change is a new migration. */
export const migrations: Migrations = {
  '0001-order-events': m0001,
  '0002-read-models': m0002,
  '0003-copies': m0003,
  '0004-consumers': m0004,
  '0005-placement': m0005,
  '0006-keys-of-customers': m0006,
  '0007-relay-lease': m0007,
  '0008-copies-in-sync': m0008,
  '0009-shadows': m0009,
  '0010-beside-the-release-before': m0010,
};

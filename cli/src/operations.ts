import type { OrdersAdmin } from '@tributary/orders';
import { settingOf } from '@tributary/server';
import type { Admin } from '@tributary/subgraph';
import { pino } from 'pino';
import { findConnections } from './running-stack.js';
import { findServices } from './services.js';
import { UserError } from './user-error.js';

/** The options of every command for operators. */
export interface OperateOptions {
  readonly dataDir: string;
  readonly json: boolean;
}

/** The operators' side of a service that places orders by sagas, and audits money and stock. */
export type SagaAdmin = Admin & {
  [Name in 'audit' | 'sagas' | 'findPlacement' | 'retrySaga' | 'resolveSaga']: OrdersAdmin[Name];
};

/** Runs a command on every service of the stack whose database is given, and closes their connections. */
export async function withAdmins(
  { dataDir }: OperateOptions,
  run: (admins: readonly Admin[]) => Promise<void>,
): Promise<void> {
  const variables = findConnections(dataDir);
  const logger = pino({ level: 'silent' });
  const admins: Admin[] = [];
  try {
    for (const service of await findServices()) {
      const databaseUrl = variables[settingOf(service.name, 'DATABASE_URL')];
      if (databaseUrl) admins.push(await service.openAdmin(variables, logger));
    }
    await run(admins);
  } finally {
    await Promise.all(admins.map((admin) => admin.close()));
  }
}

/** Runs a command on the service of the stack that has sagas. @throws UserError when none has */
export function withSagas(options: OperateOptions, run: (admin: SagaAdmin) => Promise<void>): Promise<void> {
  return withAdmins(options, async (admins) => {
    const admin = admins.find(hasSagas);
    if (!admin) throw new UserError('No service of the stack has sagas.');
    await run(admin);
  });
}

export function hasSagas(admin: Admin): admin is SagaAdmin {
  return 'sagas' in admin;
}

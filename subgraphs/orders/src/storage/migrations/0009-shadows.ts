import { type Migration, sql } from 'kysely';

export const migration: Migration = {
  async up(db) {
    // A rebuild that was killed left them behind, with data of users who may have been deleted since. Now they are temporary.
    await sql`
        drop table if exists users_copy_shadow, products_copy_shadow;
        delete from dead_letters where consumer = 'orders (rebuild)'
      `.execute(db);
  },
};

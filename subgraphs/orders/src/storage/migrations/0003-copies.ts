import { type Migration, sql } from 'kysely';

export const migration: Migration = {
  async up(db) {
    await sql`
        create table users_copy (
          id text primary key,
          name text not null,
          email text not null,
          version integer not null
        );
        create table products_copy (
          id text primary key,
          sku text not null,
          name text not null,
          version integer not null
        );
      `.execute(db);
  },
};

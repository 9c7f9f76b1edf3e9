import { type Migration, sql } from 'kysely';

export const migration: Migration = {
  async up(db) {
    await sql`
        create table row_counts (name text primary key, count bigint not null);
        insert into row_counts select 'users', count(*) from users where status <> 'DELETED';

        create function count_users() returns trigger language plpgsql as $$
        declare
          difference bigint := 0;
        begin
          if tg_op in ('INSERT', 'UPDATE') then
            difference := difference + (select count(*) from new_rows where status <> 'DELETED');
          end if;
          if tg_op in ('UPDATE', 'DELETE') then
            difference := difference - (select count(*) from old_rows where status <> 'DELETED');
          end if;
          if difference <> 0 then
            update row_counts set count = count + difference where name = 'users';
          end if;
          return null;
        end $$;

        create trigger users_inserted after insert on users
          referencing new table as new_rows for each statement execute function count_users();
        create trigger users_updated after update on users
          referencing new table as new_rows old table as old_rows for each statement execute function count_users();
        create trigger users_deleted after delete on users
          referencing old table as old_rows for each statement execute function count_users();
      `.execute(db);
  },
};

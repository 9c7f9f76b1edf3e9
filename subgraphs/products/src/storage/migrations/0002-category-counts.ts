import { type Migration, sql } from 'kysely';

export const migration: Migration = {
  async up(db) {
    await sql`
        create table category_counts (
          category text,
          sub_category text,
          count bigint not null,
          primary key (category, sub_category)
        );
        insert into category_counts select category, sub_category, count(*) from products group by 1, 2;

        create function add_to_category_counts(category text, sub_category text, difference bigint)
        returns void language sql begin atomic
          insert into category_counts as kept values (category, sub_category, difference)
          on conflict (category, sub_category) do update set count = kept.count + excluded.count;
        end;

        create function count_products() returns trigger language plpgsql as $$
        begin
          case tg_op
            when 'INSERT' then
              perform add_to_category_counts(category, sub_category, count(*))
              from new_rows group by category, sub_category order by category, sub_category;
            when 'DELETE' then
              perform add_to_category_counts(category, sub_category, -count(*))
              from old_rows group by category, sub_category order by category, sub_category;
            else
              -- Most updates move no product, and then no count is touched.
              perform add_to_category_counts(category, sub_category, sum(difference)::bigint)
              from (
                select category, sub_category, 1 as difference from new_rows
                union all select category, sub_category, -1 from old_rows
              ) as moved
              group by category, sub_category having sum(difference) <> 0 order by category, sub_category;
          end case;
          return null;
        end $$;

        create trigger products_inserted after insert on products
          referencing new table as new_rows for each statement execute function count_products();
        create trigger products_updated after update on products
          referencing new table as new_rows old table as old_rows for each statement execute function count_products();
        create trigger products_deleted after delete on products
          referencing old table as old_rows for each statement execute function count_products();
      `.execute(db);
  },
};

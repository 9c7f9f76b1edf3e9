import { type Kysely, sql } from 'kysely';

/**
 * A migration step: `search_words(text)`, the words of a text as searches find them. Every run of letters and digits is a word, in
 * lower case and composed form (NFC). PostgreSQL's own parser takes "St.John" for a host and "Meyer/Schulz" for a file.
 */
export async function createSearchWords(db: Kysely<unknown>): Promise<void> {
  await sql`
    create function search_words(text) returns text[] language sql immutable strict parallel safe
    return array(
      select word
      from regexp_split_to_table(lower(normalize($1) collate "und-x-icu"), '[^[:alnum:]]+') with ordinality as words (word, place)
      where word <> '' order by place
    )
  `.execute(db);
}

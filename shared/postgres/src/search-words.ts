import { type Kysely, sql } from 'kysely';

/**
 * The function's first argument as searches compare it: in composed form (NFC) and lower case, where a sigma that ends a word is
 * like any other, and the dot that lower case adds to the i of "İ" is left out. (So it does not matter where a word ends.)
 */
export const FOLDED_TEXT = sql.raw(`translate(lower(normalize($1) collate "und-x-icu"), U&'\\03C2\\0307', U&'\\03C3')`);

/**
 * A migration step: `search_words(text)`, the words of a text as searches find them. Every run of letters and digits is a word, in
 * lower case and composed form (NFC), see FOLDED_TEXT. PostgreSQL's own parser takes "St.John" for a host and "Meyer/Schulz" for a file.
 */
export async function createSearchWords(db: Kysely<unknown>): Promise<void> {
  await sql`
    create function search_words(text) returns text[] language sql immutable strict parallel safe
    return array(
      select word
      from regexp_split_to_table(${FOLDED_TEXT}, '[^[:alnum:]]+') with ordinality as words (word, place)
      where word <> '' order by place
    )
  `.execute(db);
}

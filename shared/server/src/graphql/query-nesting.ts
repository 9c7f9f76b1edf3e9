/** How deep brackets of all kinds, and those of lists, may be nested in the text of a query. */
export interface NestingLimits {
  readonly brackets: number;
  readonly lists: number;
}

/**
 * Finds what is nested deeper in a GraphQL document than it may be. Parsers recurse with every bracket, so this is checked before
 * anything parses. Strings and comments are skipped; the rest of the syntax is left to the parser.
 */
export function findNestingFault(query: string, limits: NestingLimits): keyof NestingLimits | null {
  if (query.length <= limits.lists) return null;
  let brackets = 0;
  let lists = 0;
  for (let i = 0; i < query.length; i++) {
    switch (query.charCodeAt(i)) {
      case 0x5b: // [
        lists += 1;
        brackets += 1;
        if (lists > limits.lists) return 'lists';
        if (brackets > limits.brackets) return 'brackets';
        break;
      case 0x28: // (
      case 0x7b: // {
        brackets += 1;
        if (brackets > limits.brackets) return 'brackets';
        break;
      case 0x5d: // ]
        lists -= 1;
        brackets -= 1;
        break;
      case 0x29: // )
      case 0x7d: // }
        brackets -= 1;
        break;
      case 0x22: // "
        i = endOfString(query, i);
        break;
      case 0x23: // #
        i = endOfLine(query, i);
        break;
    }
  }
  return null;
}

/** The index of a string's last quote; of the text's end where it has none. */
function endOfString(query: string, start: number): number {
  if (query.startsWith('"""', start)) {
    let end = query.indexOf('"""', start + 3);
    while (end !== -1 && query[end - 1] === '\\') end = query.indexOf('"""', end + 3);
    return end === -1 ? query.length : end + 2;
  }
  for (let i = start + 1; i < query.length; i++) {
    const character = query[i];
    if (character === '\\') i += 1;
    else if (character === '"' || character === '\n' || character === '\r') return i;
  }
  return query.length;
}

function endOfLine(query: string, start: number): number {
  for (let i = start; i < query.length; i++) if (query[i] === '\n' || query[i] === '\r') return i;
  return query.length;
}

/**
 * Whether brackets of a GraphQL document are nested more than `max` deep. Parsers recurse with every bracket, so this is
 * known before anything parses. Strings and comments are skipped; the rest of the syntax is left to the parser.
 */
export function isNestedDeeperThan(max: number, query: string): boolean {
  if (query.length <= max) return false;
  let depth = 0;
  for (let i = 0; i < query.length; i++) {
    switch (query.charCodeAt(i)) {
      case 0x28: // (
      case 0x5b: // [
      case 0x7b: // {
        depth += 1;
        if (depth > max) return true;
        break;
      case 0x29: // )
      case 0x5d: // ]
      case 0x7d: // }
        depth -= 1;
        break;
      case 0x22: // "
        i = endOfString(query, i);
        break;
      case 0x23: // #
        i = endOfLine(query, i);
        break;
    }
  }
  return false;
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

const NAME = /^[\w!#$%&'*+.^`|~-]+$/;
/** The HTTP client sets these itself: they describe the connection, or the body. */
const RESERVED = /^(?:connection|content-length|expect|host|keep-alive|transfer-encoding|upgrade)$/i;
const INVALID_CHARACTER = /[^\t\x20-\x7e\x80-\xff]/;
/** Undici leaves out a header that is undefined, and writes the others as text. */
const TYPES = new Set(['string', 'number', 'boolean', 'undefined']);

/**
 * Checks what plug-ins may have changed, before undici does: a pool of undici 7 never uses a connection again that refused a request.
 *
 * @throws TypeError with the header's name; values may be secret
 */
export function checkHeaders(headers: Readonly<Record<string, unknown>>): void {
  for (const name in headers) {
    const value = headers[name];
    if (!NAME.test(name)) throw new TypeError(`${JSON.stringify(name)} is not a valid name of a header`);
    if (RESERVED.test(name)) throw new TypeError(`the header "${name}" cannot be set`);
    if (!TYPES.has(typeof value)) throw new TypeError(`the value of the header "${name}" is not a string`);
    if (INVALID_CHARACTER.test(String(value)))
      throw new TypeError(`the value of the header "${name}" has a character that cannot be sent`);
  }
}

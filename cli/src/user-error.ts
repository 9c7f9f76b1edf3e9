/** Something that the person at the keyboard can put right; shown as a plain message, without a stack trace. */
export class UserError extends Error {
  override readonly name = 'UserError';
}

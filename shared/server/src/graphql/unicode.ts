/** Whether a text is well-formed Unicode: an unpaired surrogate can be neither encoded as UTF-8 nor stored. */
export function isWellFormed(text: string): boolean {
  // In every supported version of Node, but not yet in TypeScript's ES2023 library.
  return (text as unknown as { isWellFormed(): boolean }).isWellFormed();
}

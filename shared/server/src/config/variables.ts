import type { z } from 'zod';
import { formerNameOf } from './environment.js';

/** An environment variable that a program reads. */
export interface Variable {
  readonly name: string;
  /** As it would be given; null when it has none. */
  readonly preset: string | null;
  readonly required: boolean;
  readonly description: string;
  /** The name that it had in an earlier release, which still works. */
  readonly former: string | undefined;
}

/** The variables of a configuration, each with what its schema says of it. */
export function describeVariables(shape: z.ZodRawShape): Variable[] {
  return Object.entries(shape).map(([name, schema]) => {
    const type = schema as z.ZodType;
    const preset = presetOf(type);
    return {
      name,
      preset,
      required: preset === null && !type.safeParse(undefined).success,
      description: type.description ?? '',
      former: formerNameOf(type),
    };
  });
}

/** Shorter names may well be of something else. */
const SHORTEST_MISSPELLED = 8;

/** Variables that no program reads, and that differ by one slip from one that this program reads. */
export function misspelledVariables(
  shape: z.ZodRawShape,
  env: NodeJS.ProcessEnv,
): { readonly given: string; readonly meant: string }[] {
  const withFile = (names: readonly string[]) => names.flatMap((name) => [name, `${name}_FILE`]);
  const names = withFile(Object.keys(shape));
  const formerNames = withFile(Object.values(shape).flatMap((schema) => formerNameOf(schema as z.ZodType) ?? []));
  return Object.keys(env)
    .filter((name) => name.length >= SHORTEST_MISSPELLED && ![...names, ...formerNames].includes(name))
    .flatMap((given) => names.filter((name) => isSlip(given, name)).map((meant) => ({ given, meant })));
}

/** Whether one letter is too many, missing or wrong, or two neighbours are swapped. */
function isSlip(given: string, meant: string): boolean {
  let start = 0;
  while (start < given.length && given[start] === meant[start]) start += 1;
  let a = given.slice(start);
  let b = meant.slice(start);
  while (a !== '' && b !== '' && a.at(-1) === b.at(-1)) [a, b] = [a.slice(0, -1), b.slice(0, -1)];
  return (a.length <= 1 && b.length <= 1) || (a.length === 2 && a === [...b].reverse().join(''));
}

/** Before it is transformed. */
function presetOf(type: z.ZodType): string | null {
  const { def } = type as unknown as {
    def: { type: string; defaultValue?: unknown; in?: z.ZodType; innerType?: z.ZodType };
  };
  if (def.type === 'default') return String(def.defaultValue);
  const inner = def.type === 'pipe' ? def.in : def.innerType;
  return inner ? presetOf(inner) : null;
}

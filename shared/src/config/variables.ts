import type { z } from 'zod';

/** An environment variable that a program reads. */
export interface Variable {
  readonly name: string;
  /** As it would be given; null when it has none. */
  readonly preset: string | null;
  readonly required: boolean;
  readonly description: string;
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
    };
  });
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

import {
  type ASTVisitor,
  GraphQLError,
  Kind,
  type NameNode,
  specifiedRules,
  type ValidationContext,
  type ValidationRule,
} from 'graphql';
import { isFiniteNumber } from './normalize-literals.js';

/** Refuses `__proto__`: as a response key it would set the prototype. */
function NoPrototypeNamesRule(context: ValidationContext): ASTVisitor {
  const refuse = (name: NameNode | undefined) => {
    if (name?.value !== '__proto__') return;
    context.reportError(new GraphQLError('"__proto__" cannot be the name of a field or an alias.', { nodes: name }));
  };
  return { Field: ({ alias }) => refuse(alias), ObjectField: ({ name }) => refuse(name) };
}

/** Refuses numbers that JSON, in which subgraphs are sent values, cannot represent. */
function FiniteNumbersRule(context: ValidationContext): ASTVisitor {
  const refuse = (node: Parameters<typeof isFiniteNumber>[0]) => {
    if (isFiniteNumber(node)) return;
    const { value } = node as { value: string };
    const shown = value.length > 40 ? `${value.slice(0, 40)}…` : value;
    context.reportError(new GraphQLError(`The number ${shown} is out of range.`, { nodes: node }));
  };
  return { [Kind.INT]: refuse, [Kind.FLOAT]: refuse };
}

/** Refuses `__schema` and `__type`. */
function NoIntrospectionRule(context: ValidationContext): ASTVisitor {
  return {
    Field: ({ name }) => {
      if (name.value !== '__schema' && name.value !== '__type') return;
      const message = `Introspection is disabled; the field "${name.value}" is not available.`;
      const extensions = { reason: 'INTROSPECTION_DISABLED' } as const;
      context.reportError(new GraphQLError(message, { nodes: name, extensions }));
    },
  };
}

const RULES: readonly ValidationRule[] = [...specifiedRules, NoPrototypeNamesRule, FiniteNumbersRule];

/** Returns the validation rules of the specification and of the gateway. */
export function documentRules(introspection: boolean): readonly ValidationRule[] {
  return introspection ? RULES : [...RULES, NoIntrospectionRule];
}

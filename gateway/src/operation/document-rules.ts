import {
  type ASTVisitor,
  GraphQLError,
  getNamedType,
  Kind,
  type NameNode,
  type SelectionSetNode,
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

/** Refuses `__schema` and `__type` below a field that leads to the root again: the gateway resolves them at the root of an operation. */
function IntrospectionAtRootRule(context: ValidationContext): ASTVisitor {
  const refuse = (selectionSet: SelectionSetNode, within: readonly string[] = []): void => {
    for (const selection of selectionSet.selections) {
      if (selection.kind === Kind.INLINE_FRAGMENT) refuse(selection.selectionSet, within);
      else if (selection.kind === Kind.FIELD && /^__(schema|type)$/.test(selection.name.value)) {
        const message = `The field "${selection.name.value}" can be selected at the root of an operation only.`;
        context.reportError(new GraphQLError(message, { nodes: selection.name }));
      } else if (selection.kind === Kind.FRAGMENT_SPREAD && !within.includes(selection.name.value)) {
        const fragment = context.getFragment(selection.name.value);
        if (fragment) refuse(fragment.selectionSet, [...within, selection.name.value]);
      }
    }
  };
  return {
    Field({ selectionSet }) {
      if (selectionSet && getNamedType(context.getType())?.name === context.getSchema().getQueryType()?.name)
        refuse(selectionSet);
    },
  };
}

const RULES: readonly ValidationRule[] = [
  ...specifiedRules,
  NoPrototypeNamesRule,
  FiniteNumbersRule,
  IntrospectionAtRootRule,
];

/** Returns the validation rules of the specification and of the gateway. */
export function documentRules(introspection: boolean): readonly ValidationRule[] {
  return introspection ? RULES : [...RULES, NoIntrospectionRule];
}

import { Kind, parse } from 'graphql';
import type { Subgraph } from '../subgraph/index.js';

/** Reads names and URLs of the subgraphs from a supergraph's SDL: the values of `join__Graph`. */
export function subgraphsOf(supergraphSdl: string): Subgraph[] {
  const { definitions } = parse(supergraphSdl, { noLocation: true });
  const graphs = definitions.find(
    (definition) => definition.kind === Kind.ENUM_TYPE_DEFINITION && definition.name.value === 'join__Graph',
  );
  if (graphs?.kind !== Kind.ENUM_TYPE_DEFINITION) return [];
  return (graphs.values ?? []).flatMap(({ directives }) => {
    const graph = directives?.find(({ name }) => name.value === 'join__graph');
    const argument = (name: string) => {
      const value = graph?.arguments?.find((each) => each.name.value === name)?.value;
      return value?.kind === Kind.STRING ? value.value : '';
    };
    return graph ? [{ name: argument('name'), url: argument('url') }] : [];
  });
}

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { composeServices } from '@apollo/composition';
import { parse, print } from 'graphql';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ask } from '../harness/graphql-client.ts';
import { runProgram } from '../harness/process.ts';
import { gateway, subgraph } from '../harness/test-gateway.ts';

const FEDERATION =
  'extend schema @link(url: "https://specs.apollo.dev/federation/v2.9", import: ["@key", "@context", "@fromContext"])\n';
const SCHEMAS = {
  products: `type Query { products(first: Int): [Product!] }
    type Product @key(fields: "id") { id: ID! name: String seller: User }
    type User @key(fields: "id") { id: ID! }`,
  users: 'type Query { me: User } type User @key(fields: "id") { id: ID! name: String }',
  orders: 'type Product @key(fields: "id") { id: ID! sold: Int }',
};

const SHOP = `query Shop($full: Boolean! = true, $first: Int!) {
  products(first: $first) { name sold @include(if: $full) seller { name @include(if: $full) } }
}
query Mine { me { name } }
`;

let folder: string;
const file = (name: string, text: string) => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};

/** A supergraph, as the text of its file. */
function composed(schemas: Readonly<Record<string, string>>): string {
  const services = Object.entries(schemas).map(([name, sdl]) => ({
    name,
    url: `http://${name}.invalid/graphql`,
    typeDefs: parse(FEDERATION + sdl),
  }));
  const { supergraphSdl, errors } = composeServices(services);
  return supergraphSdl ?? expect.fail(String(errors));
}

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tributary-plan-'));
  file('supergraph.graphql', composed(SCHEMAS));
  file('shop.graphql', SHOP);
});
afterAll(() => rmSync(folder, { recursive: true }));

/** Runs `plan` to its end; it reads `input` on standard input. */
async function run(args: readonly string[], { env = {}, input = '' } = {}) {
  const program = runProgram('cli/bin/tributary.mjs', ['plan', ...args], env, input);
  return { status: await program.ended, output: program.output() };
}

const onFile = (args: readonly string[], input = '') =>
  run([...args, '--supergraph', join(folder, 'supergraph.graphql')], { input });

/** The output as JSON. */
async function planned(args: readonly string[], input = '') {
  const { status, output } = await onFile([...args, '--json'], input);
  expect(status, output).toBe(0);
  return JSON.parse(output);
}

const shop = (...args: string[]) => [join(folder, 'shop.graphql'), '--operation', 'Shop', ...args];

describe('on a supergraph file', () => {
  test('the plan is printed with its planner, its fetches in order, their operations and what variables stand for', async () => {
    const { status, output } = await onFile(['-'], '{ products(first: 3) { name seller { name } } }');
    expect(status).toBe(0);
    expect(output).toBe(`Planner: native

QueryPlan {
  Sequence {
    Fetch(service: "products") {
      {
        products(first: $v0) {
          name
          seller {
            __typename
            id
          }
        }
      }
    },
    Flatten(path: "products.@.seller") {
      Fetch(service: "users") {
        {
          ... on User {
            __typename
            id
          }
        } =>
        {
          ... on User {
            name
          }
        }
      },
    },
  },
}

Fetches:

1. products: root fetch
   query ($v0: Int) {
     products(first: $v0) {
       name
       seller {
         __typename
         id
       }
     }
   }

2. users: entity fetch at products.@.seller, after 1
   query ($representations: [_Any!]!) {
     _entities(representations: $representations) {
       ... on User {
         name
       }
     }
   }

Variables: $v0 = 3
`);
  });

  test('both planners plan, each when it is forced; conditions have the values given, or their defaults', async () => {
    const full = await planned(shop());
    expect(full).toMatchObject({ planner: 'native', plannerReason: null, conditions: { full: true } });
    expect(full.fetches.slice(1)).toEqual([
      expect.objectContaining({ kind: 'entity', after: [1] }),
      expect.objectContaining({ kind: 'entity', after: [1] }),
    ]);
    for (const planner of ['native', 'apollo']) {
      const short = await planned(shop('--planner', planner, '--variables', '{"full": false, "first": 1}'));
      expect(short).toMatchObject({ planner, conditions: { full: false } });
      expect(short.plannerReason).toBe(planner === 'apollo' ? '--planner apollo' : null);
      expect(short.fetches).toHaveLength(1);
      expect(short.fetches[0]).toMatchObject({ number: 1, subgraph: 'products', kind: 'root', path: [], after: [] });
      expect(short.variables).toEqual({ [short.fetches[0].variables[0]]: '$first' });
    }
  });

  test('it says why the native planner is not used', async () => {
    const supergraph = composed({
      people: `type Query { me: Person }
        type Person @key(fields: "id") @context(name: "owner") { id: ID! locale: String! home: Home! }
        type Home @key(fields: "id") { id: ID! sign(locale: String @fromContext(field: "$owner { locale }")): String! }`,
      homes: 'type Home @key(fields: "id") { id: ID! street: String }',
    });
    const path = file('contexts.graphql', supergraph);
    const { output } = await run(['-', '--supergraph', path], { input: '{ me { id } }' });
    expect(output).toMatch(/^Planner: apollo \(the native planner does not support @context\)\n/);
  });

  test('of several operations one is chosen by its name', async () => {
    const { fetches } = await planned([join(folder, 'shop.graphql'), '--operation', 'Mine']);
    expect(fetches).toMatchObject([{ subgraph: 'users', kind: 'root' }]);
    const several = join(folder, 'shop.graphql');
    expect(await onFile([several])).toEqual({
      status: 1,
      output: `${several}: --operation is required: the file has several operations.\n`,
    });
  });

  test('an operation that needs no subgraph says so', async () => {
    const { status, output } = await onFile(['-'], '{ __schema { queryType { name } } }');
    expect(output).toBe('Planner: native\n\nQueryPlan {}\n\nNo subgraph is needed.\n');
    expect(status).toBe(0);
  });

  test('every error of an invalid operation is a line with its place', async () => {
    const invalid = file('invalid.graphql', '{\n  products { nme }\n  me { id nothing }\n}\n');
    const { status, output } = await onFile([invalid]);
    expect(output.trimEnd().split('\n')).toEqual([
      `${invalid}:2:14: Cannot query field "nme" on type "Product". Did you mean "name"?`,
      `${invalid}:3:11: Cannot query field "nothing" on type "User".`,
    ]);
    expect(status).toBe(1);
    expect(await onFile(['-'], '{ me { id }')).toEqual({
      status: 1,
      output: expect.stringMatching(/^standard input:1:12: Syntax Error: .*\n$/),
    });
  });

  test('a condition that has no Boolean is an error of the operation', async () => {
    const { status, output } = await onFile(shop('--variables', '{"full": 1}'));
    expect(output).toMatch(/shop\.graphql:1:12: Variable "\$full" got invalid value 1; .*\n$/);
    expect(status).toBe(1);
  });
});

describe('what it cannot use', () => {
  test.each([
    [['--planner', 'other'], 'Invalid settings:\n  --planner: expected native or apollo; got "other"\n'],
    [['--variables', '[1]'], 'Invalid settings:\n  --variables: expected a JSON object; got "[1]"\n'],
    [['--nothing'], "error: unknown option '--nothing'\n"],
  ])('%j is refused', async (args, words) => {
    const { status, output } = await onFile(shop(...args));
    expect(output).toContain(words);
    expect(status).toBe(1);
  });

  test('files that cannot be read, or hold no supergraph, are named with the reason', async () => {
    const missing = join(folder, 'missing.graphql');
    expect(await onFile([missing])).toEqual({
      status: 1,
      output: `file: expected a GraphQL document; got "${missing}" (no such file or folder)\n`,
    });
    const supergraph = '--supergraph: expected a file with a composed federation supergraph; got ';
    for (const [path, reason] of [
      [missing, 'no such file or folder'],
      [file('api.graphql', 'type Query { a: Int }'), 'it is the schema of an API or of a subgraph'],
    ] as const) {
      const { status, output } = await run(['-', '--supergraph', path], { input: '{ a }' });
      expect(output).toBe(`${supergraph}"${path}" (${reason})\n`);
      expect(status).toBe(1);
    }
  });
});

describe('without a supergraph file', () => {
  test('without a stack it says what to do', async () => {
    const { status, output } = await run([join(folder, 'shop.graphql'), `--data-dir=${folder}`]);
    expect(output).toContain(`No stack runs on the data folder ${folder}.\nStart it, or set USERS_URL, `);
    expect(output).toContain('--supergraph');
    expect(status).toBe(1);
  });

  test('the supergraph is that of the running stack, and its plan and operations are those of the gateway', async () => {
    const started = await Promise.all(
      Object.entries(SCHEMAS).map(async ([name, sdl]) => [name, await subgraph(sdl)] as const),
    );
    const stack = started.flatMap(([name, { url }]) => [
      [`${name.toUpperCase()}_URL`, url.replace(/\/graphql$/, '')],
      [`${name.toUpperCase()}_DATABASE_URL`, 'postgres://localhost:1/none'],
    ]);
    const input = '{ products(first: 3) { label: name } }';
    const { status, output } = await run(['-', '--json'], { env: Object.fromEntries(stack), input });
    expect(status, output).toBe(0);
    const { plan, fetches } = JSON.parse(output);

    const { url, gateway: running } = await gateway({
      SUBGRAPHS: started.map(([name, { url }]) => `${name}=${url}`).join(),
    });
    await running.ready;
    const sent: string[] = [];
    for (const [, each] of started) {
      each.answerWith((response, { query }) => {
        // The gateway reads the schemas again now and then.
        if (!query.includes('_service')) sent.push(print(parse(query)));
        response.end('{"data":{"products":[]}}');
      });
    }
    const { extensions } = await ask(url, input, {}, { 'x-explain': 'yes' });
    expect(extensions).toMatchObject({ explanation: { plan: { json: plan } } });
    expect(fetches).toMatchObject([{ subgraph: 'products', operation: sent[0] }]);
    expect(sent).toHaveLength(1);
  });
});

import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Random } from '../harness/random.ts';
import { until } from '../harness/until.ts';
import { DevSession } from './dev-session.ts';

// Files of every part are saved under `npm run dev` at random moments, some with errors. In every pause the last state is live, or the
// compiler's error is shown.
const EDITS = Number(process.env.DEV_EDITS ?? 4);
const SEED = Number(process.env.DEV_SEED ?? 14);
/** Between two edits. */
const [SHORTEST_MS, LONGEST_MS] = [200, 5000];
/** In a pause. */
const WITHIN_MS = 10_000;
/** The average number of edits between pauses. */
const PAUSE_EVERY = 3;

/** What is edited: a text in a file, and where clients of the gateway see it. */
interface Place {
  readonly file: string;
  readonly find: RegExp;
  readonly write: (n: number) => string;
  readonly read: (session: DevSession) => Promise<string | null>;
  readonly shown: (n: number) => string;
}

const describedAs = (type: string, field: string) => ({
  shown: (n: number) => `Edit ${n}.`,
  read: async (session: DevSession) => (await session.descriptionsOf(type))[field] ?? null,
});

const PLACES: readonly Place[] = [
  {
    file: 'subgraphs/products/src/schema/product-types.ts',
    find: /description: '[^']*' \}\) reserved/,
    write: (n) => `description: 'Edit ${n}.' }) reserved`,
    ...describedAs('Stock', 'reserved'),
  },
  {
    file: 'subgraphs/orders/src/schema/order-types.ts',
    find: /description: '[^']*' \}\) lineTotal/,
    write: (n) => `description: 'Edit ${n}.' }) lineTotal`,
    ...describedAs('OrderItem', 'lineTotal'),
  },
  {
    file: 'shared/subgraph/src/money-type.ts',
    find: /description: '[^']*' \}\) currency/,
    write: (n) => `description: 'Edit ${n}.' }) currency`,
    ...describedAs('Money', 'currency'),
  },
  {
    file: 'gateway/src/app.ts',
    find: /maxAge: \d+/,
    write: (n) => `maxAge: ${n}`,
    shown: String,
    async read({ url }) {
      const headers = { origin: 'http://localhost', 'access-control-request-method': 'POST' };
      const response = await fetch(`${url}/graphql`, { method: 'OPTIONS', headers });
      return response.headers.get('access-control-max-age');
    },
  },
  {
    file: 'gateway/pages/graphiql.html',
    find: /<title>.*<\/title>/,
    write: (n) => `<title>Edit ${n}</title>`,
    shown: (n) => `Edit ${n}`,
    async read({ url }) {
      return /<title>(.*)<\/title>/.exec(await (await fetch(`${url}/graphiql`)).text())?.[1] ?? null;
    },
  },
];

let session: DevSession;
beforeAll(async () => {
  session = await DevSession.start();
}, 120_000);
afterAll(async () => {
  await session?.end('SIGKILL');
});

test(
  `${EDITS} edits at random moments (seed ${SEED})`,
  async () => {
    const random = new Random(SEED);
    /** By place, the number of the last edit. */
    const edited = new Map<Place, number>();
    /** The error that is in the sources now. */
    let fault: { readonly file: string; readonly text: string; readonly name: string } | null = null;
    const pauses: { readonly afterEdit: number; readonly isBroken: boolean; readonly ms: number }[] = [];

    const edit = (n: number) => {
      const how = random.pick(['in place', 'by rename'] as const);
      // One of three makes an error; while there is one, two of three repair it.
      if (random.next() < (fault ? 2 / 3 : 1 / 3)) {
        if (fault) {
          session.save(fault.file, session.read(fault.file).replace(fault.text, ''), how);
          fault = null;
        } else {
          const { file } = random.pick(PLACES.filter((place) => place.file.endsWith('.ts')));
          fault = { file, text: `export const fault${n} = missing${n};\n`, name: `missing${n}` };
          session.save(file, session.read(file) + fault.text, how);
        }
      } else {
        const place = random.pick(PLACES);
        edited.set(place, n);
        session.save(place.file, session.read(place.file).replace(place.find, place.write(n)), how);
      }
    };

    /** What is not as it was saved last. */
    const differences = async (): Promise<string[]> => {
      if (fault) {
        const shown = session.output.slice(session.output.lastIndexOf('The build failed'));
        const isShown = shown.includes(`'${fault.name}'`) && !shown.includes('The build succeeds again');
        return isShown ? [] : [`${fault.name} in ${fault.file} is not shown`];
      }
      const seen = await Promise.all(
        [...edited].map(async ([{ file, read, shown }, n]) => {
          const now = await read(session);
          return now === shown(n) ? [] : [`${file}: expected "${shown(n)}"; got "${now}"`];
        }),
      );
      return seen.flat();
    };

    for (let n = 1; n <= EDITS; n++) {
      edit(n);
      if (n === EDITS || random.next() < 1 / PAUSE_EVERY) {
        const startedAt = performance.now();
        try {
          await until(differences, (all) => all.length === 0, WITHIN_MS);
        } catch (error) {
          throw new Error(`After edit ${n}: ${(error as Error).message}\n${session.output}`);
        }
        pauses.push({ afterEdit: n, isBroken: fault !== null, ms: Math.round(performance.now() - startedAt) });
      }
      await sleep(SHORTEST_MS + random.next() * (LONGEST_MS - SHORTEST_MS));
    }
    const times = pauses.map(({ ms }) => ms).sort((a, b) => a - b);
    process.stdout.write(
      `${pauses.length} pauses, ${pauses.filter(({ isBroken }) => isBroken).length} with an error in the code; ` +
        `live or shown after ${times[Math.floor(times.length / 2)]} ms (median), ${times.at(-1)} ms (longest)\n`,
    );
  },
  EDITS * (LONGEST_MS + WITHIN_MS) + 30_000,
);

test('no query failed meanwhile, nothing was logged as a warning, and Ctrl-C ends it', async () => {
  const { count, failures } = session.queries;
  expect(failures).toEqual([]);
  expect(count).toBeGreaterThan(EDITS);
  expect(session.warnings).toEqual([]);
  const { status, tookMs, left } = await session.end('SIGINT');
  expect({ status, left }).toEqual({ status: 0, left: [] });
  expect(tookMs).toBeLessThan(5000);
}, 60_000);

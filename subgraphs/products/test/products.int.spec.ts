import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startGraph, type TestGraph } from '../../../test/harness/graph.ts';
import { ask } from '../../../test/harness/graphql-client.ts';
import { Random } from '../../../test/harness/random.ts';
import { until } from '../../../test/harness/until.ts';

let graph: TestGraph;
beforeAll(async () => {
  graph = await startGraph();
});
afterAll(() => graph?.stop());

const FIELDS =
  'id sku name category subCategory price { amount } attributes status version stock { onHand reserved available }';

let made = 0;
async function create(input: Record<string, unknown> = {}) {
  made += 1;
  const { data, errors } = await graph.ask(
    `mutation ($input: CreateProductInput!) { createProduct(input: $input) { ${FIELDS} } }`,
    {
      input: {
        sku: `T-${made}`,
        name: `Test product ${made}`,
        category: 'Tests',
        subCategory: 'Made',
        price: '9.99',
        ...input,
      },
    },
  );
  expect(errors).toBeUndefined();
  return data.createProduct;
}

interface ProductPage {
  readonly nodes: {
    id: string;
    name: string;
    price: { amount: string };
    createdAt: string;
    sales: { unitsSold: number };
  }[];
  readonly pageInfo: { hasNextPage: boolean; endCursor: string | null };
  readonly totalCount: number;
}

async function page(
  sort: string,
  first: number,
  after: string | null,
  filter: Record<string, unknown> = {},
): Promise<ProductPage> {
  const { data, errors } = await graph.ask(
    `query ($sort: ProductSort, $first: Int, $after: String, $filter: ProductFilter) {
      products(sort: $sort, first: $first, after: $after, filter: $filter) {
        totalCount nodes { id name price { amount } createdAt sales { unitsSold } } pageInfo { hasNextPage endCursor }
      }
    }`,
    { sort, first, after, filter },
  );
  expect(errors).toBeUndefined();
  return data.products;
}

test.each([
  [{ text: 'bookcases' }, 49],
  [{ text: 'bookcase -sauder' }, 40],
  [{ text: 'FUR-BO-10001798' }, 1],
  [{ minPrice: '1000', maxPrice: '2000' }, 11],
  [{ category: 'Furniture' }, 375],
  [{ category: 'Furniture', subCategory: 'Tables', inStock: false }, 0],
])('the filter %j matches as many as its total', async (filter, expected) => {
  const { nodes, totalCount } = await page('NAME', 100, null, filter);
  if (totalCount <= 100) expect(nodes).toHaveLength(totalCount);
  expect(totalCount).toBe(expected);
});

test('the full-text search pages through the best sellers without repeats or holes while rows are inserted', async () => {
  const before = await page('BEST_SELLING', 100, null, { text: 'bookcase' });
  const seen: string[] = [];
  let after: string | null = null;
  for (;;) {
    const { nodes, pageInfo }: ProductPage = await page('BEST_SELLING', 5, after, { text: 'bookcase' });
    seen.push(...nodes.map((node) => node.id));
    await create({ name: 'A bookcase made meanwhile' });
    if (!pageInfo.hasNextPage || seen.length > 200) break;
    after = pageInfo.endCursor;
  }
  expect(new Set(seen).size).toBe(seen.length);
  expect(seen.slice(0, before.nodes.length)).toEqual(before.nodes.map((node) => node.id));
  expect(before.totalCount).toBe(49);
  const units = before.nodes.map((node) => node.sales.unitsSold);
  expect(units).toEqual(units.toSorted((a, b) => b - a));
});

const PAGES_SEED = 14;

test(`the pages together are the list, for every sort order and page size (seed ${PAGES_SEED})`, async () => {
  const random = new Random(PAGES_SEED);
  const filter = { category: 'Technology', subCategory: 'Copiers' };
  for (let run = 0; run < 15; run++) {
    const sort = random.pick(['NAME', 'PRICE_ASC', 'PRICE_DESC', 'NEWEST', 'BEST_SELLING']);
    const sizes = Array.from({ length: 1 + random.below(4) }, () => 1 + random.below(9));
    const whole = await page(sort, 100, null, filter);
    const ids: string[] = [];
    let after: string | null = null;
    for (let i = 0; ; i++) {
      const { nodes, pageInfo }: ProductPage = await page(sort, sizes[i % sizes.length] ?? 1, after, filter);
      ids.push(...nodes.map((node) => node.id));
      if (!pageInfo.hasNextPage) break;
      after = pageInfo.endCursor;
    }
    expect(ids).toEqual(whole.nodes.map((node) => node.id));
    expect(ids).toHaveLength(whole.totalCount);
  }
});

test('each sort order sorts by its field', async () => {
  const names = (await page('NAME', 100, null)).nodes.map((node) => node.name);
  expect(names).toEqual(names.toSorted(new Intl.Collator('und').compare));
  const prices = (await page('PRICE_ASC', 100, null)).nodes.map((node) => Number(node.price.amount));
  expect(prices).toEqual(prices.toSorted((a, b) => a - b));
  const dear = (await page('PRICE_DESC', 100, null)).nodes.map((node) => Number(node.price.amount));
  expect(dear).toEqual(dear.toSorted((a, b) => b - a));
  const days = (await page('NEWEST', 100, null)).nodes.map((node) => node.createdAt);
  expect(days).toEqual(days.toSorted().reverse());
});

describe('commands', () => {
  test('a new product is found by both keys, counted in its category, and has its opening stock', async () => {
    const product = await create({ sku: 'NEW-1', onHand: 3, attributes: { colour: 'red', sizes: [1, 2] } });
    expect(product).toMatchObject({
      sku: 'NEW-1',
      price: { amount: '9.99' },
      attributes: { colour: 'red', sizes: [1, 2] },
      status: 'ACTIVE',
      version: 1,
      stock: { onHand: 3, reserved: 0, available: 3 },
    });
    const { data } = await graph.ask(
      '{ product(sku: "NEW-1") { id sales { unitsSold orderCount } } categories { name productCount subCategories } }',
    );
    expect(data.product).toEqual({ id: product.id, sales: { unitsSold: 0, orderCount: 0 } });
    expect(data.categories).toContainEqual({ name: 'Tests', productCount: made, subCategories: ['Made'] });
  });

  test('each change grows the version by one; what changes nothing does not', async () => {
    const { id } = await create();
    const version = async (mutation: string) => {
      const { data, errors } = await graph.ask(`mutation { changed: ${mutation} { version } }`);
      expect(errors).toBeUndefined();
      return data.changed.version;
    };
    expect(
      await version(`updateProduct(id: "${id}", input: { name: "Renamed", attributes: { a: 1 }, expectedVersion: 1 })`),
    ).toBe(2);
    expect(await version(`updateProduct(id: "${id}", input: { name: "Renamed", attributes: { a: 1 } })`)).toBe(2);
    expect(await version(`changePrice(id: "${id}", price: "10.50")`)).toBe(3);
    expect(await version(`changePrice(id: "${id}", price: "10.5")`)).toBe(3);
    expect(await version(`restock(id: "${id}", quantity: 5, idempotencyKey: "${id}")`)).toBe(3);
    expect(await version(`discontinueProduct(id: "${id}")`)).toBe(4);
    expect(await version(`discontinueProduct(id: "${id}")`)).toBe(4);
  });

  test('a category that loses its last product is gone; a moved product is counted where it went', async () => {
    const { id } = await create({ category: 'Fleeting', subCategory: 'Short' });
    const names = async () =>
      (await graph.ask('{ categories { name } }')).data.categories.map((category: { name: string }) => category.name);
    expect(await names()).toContain('Fleeting');
    await graph.ask(
      `mutation { updateProduct(id: "${id}", input: { category: "Tests", subCategory: "Made" }) { id } }`,
    );
    expect(await names()).not.toContain('Fleeting');
  });

  test('restocking with one key, ten times at once, counts once; another use of the key is a CONFLICT', async () => {
    const { id } = await create({ onHand: 1 });
    const restock = (quantity: number) =>
      graph.ask(
        `mutation { restock(id: "${id}", quantity: ${quantity}, idempotencyKey: "again-${id}") { stock { onHand available } } }`,
      );
    await Promise.all(Array.from({ length: 10 }, () => restock(4)));
    expect((await restock(4)).data.restock.stock).toEqual({ onHand: 5, available: 5 });
    expect((await restock(5)).errors?.[0]?.extensions).toMatchObject({
      code: 'CONFLICT',
      reason: 'IDEMPOTENCY_KEY_REUSED',
    });
  });

  test.each(['gateway', 'products'] as const)(
    'each restock of one mutation returns the stock after itself (%s)',
    async (service) => {
      const { id } = await create({ onHand: 1 });
      const { data, errors } = await ask(
        graph.urls[service],
        `mutation Restocks($id: ID!) {
          first: restock(id: $id, quantity: 10, idempotencyKey: "one-${service}") { stock { onHand } }
          second: restock(id: $id, quantity: 5, idempotencyKey: "two-${service}") { stock { onHand } }
        }`,
        { id },
      );
      expect(errors).toBeUndefined();
      expect(data).toEqual({ first: { stock: { onHand: 11 } }, second: { stock: { onHand: 16 } } });
    },
  );

  test('a discontinued product takes no more stock', async () => {
    const { id } = await create();
    await graph.ask(`mutation { discontinueProduct(id: "${id}") { status } }`);
    const answer = await graph.ask(
      `mutation { restock(id: "${id}", quantity: 1, idempotencyKey: "late-${id}") { id } }`,
    );
    expect(answer.errors?.[0]?.extensions).toMatchObject({ code: 'CONFLICT', reason: 'PRODUCT_DISCONTINUED' });
    const rows = await graph.databases.query('products', 'select on_hand::integer from stock where product_id = $1', [
      id,
    ]);
    expect(rows).toEqual([{ on_hand: 0 }]);
  });
});

describe('counters at the end of their type', () => {
  const setStock = (id: string, column: string, value: number) =>
    graph.databases.query('products', `update stock set ${column} = $2 where product_id = $1`, [id, value]);
  const buy = async (productId: string, quantity: number) => {
    const { data, errors } = await graph.ask(
      `mutation Buy($input: PlaceOrderInput!, $key: ID!) {
        placeOrder(input: $input, idempotencyKey: $key) { id status rejection saga { status } }
      }`,
      { input: { customerId: 'AA-10375', items: [{ productId, quantity }], waitMs: 15_000 }, key: `buy-${productId}` },
    );
    expect(errors).toBeUndefined();
    return data.placeOrder;
  };
  const balance = async () => {
    const { data } = await graph.ask('query Balance { user(id: "AA-10375") { account { balance { amount } } } }');
    return data.user.account.balance.amount;
  };

  test('a product whose sales cannot be counted any more is not sold, and no account is charged', async () => {
    const { id } = await create({ onHand: 10, price: '1' });
    await setStock(id, 'sold', 2_147_483_646);
    const before = await balance();
    const order = await buy(id, 2);
    expect(order).toMatchObject({ status: 'REJECTED', rejection: expect.stringContaining('cannot be sold any more') });
    expect(await balance()).toBe(before);
    expect(await graph.databases.query('products', 'select from dead_letters')).toEqual([]);
  });

  test('a full stock accepts no more units by a command, but every return', async () => {
    const { id } = await create({ onHand: 10, price: '1' });
    const order = await buy(id, 5);
    expect(order.status).toBe('CONFIRMED');
    await setStock(id, 'on_hand', 2_147_483_645);
    const refused = await graph.ask(
      'mutation Restock($id: ID!, $key: ID!) { restock(id: $id, quantity: 1, idempotencyKey: $key) { id } }',
      { id, key: 'full' },
    );
    expect(refused.errors?.[0]?.extensions).toMatchObject({ code: 'CONFLICT', reason: 'STOCK_LIMIT' });
    await graph.ask('mutation Cancel($id: ID!) { cancelOrder(id: $id, reason: "no") { id } }', { id: order.id });
    await until(
      () => graph.databases.query('products', 'select on_hand from stock where product_id = $1', [id]),
      ([stock]) => Number(stock?.on_hand) === 2_147_483_650,
    );
    const { data, errors } = await graph.ask(
      'query Stock($id: ID) { product(id: $id) { stock { onHand available } } }',
      {
        id,
      },
    );
    expect(errors).toBeUndefined();
    expect(data.product.stock).toEqual({ onHand: 2_147_483_647, available: 2_147_483_647 });
  });

  test('a product that was changed as often as can be counted refuses the next change', async () => {
    const { id } = await create();
    await graph.databases.query('products', 'update products set version = 2146483647 where id = $1', [id]);
    const answer = await graph.ask('mutation Price($id: ID!) { changePrice(id: $id, price: "7") { id } }', { id });
    expect(answer.errors?.[0]?.extensions).toMatchObject({ code: 'CONFLICT', reason: 'VERSION_LIMIT' });
  });
});

test('the key of one restock is a key of its own for another product', async () => {
  const products = [await create(), await create()];
  for (const { id } of [...products, ...products]) {
    const { data, errors } = await graph.ask(
      'mutation Restock($id: ID!) { restock(id: $id, quantity: 3, idempotencyKey: "shared") { stock { onHand } } }',
      { id },
    );
    expect(errors).toBeUndefined();
    expect(data.restock.stock.onHand).toBe(3);
  }
});

test.each([
  ['sku', '\u200b', 'EMPTY'],
  ['name', '\u200b\u2060', 'EMPTY'],
  ['category', 'Ca\u0007t', 'CHARACTER'],
  ['subCategory', 'a\nb', 'CHARACTER'],
])('the %s %j of a product is refused', async (field, value, reason) => {
  const answer = await graph.ask(
    'mutation Create($input: CreateProductInput!) { createProduct(input: $input) { id } }',
    {
      input: { sku: 'odd', name: 'N', category: 'C', subCategory: 'D', price: '1', [field]: value },
    },
  );
  expect(answer.errors?.[0]?.extensions).toMatchObject({ code: 'BAD_USER_INPUT', field, reason });
});

test('a SKU is one text, composed or decomposed', async () => {
  const { id } = await create({ sku: 'CAFE\u0301-1' });
  for (const sku of ['CAF\u00c9-1', 'CAFE\u0301-1']) {
    const { data } = await graph.ask('query Find($sku: String) { product(sku: $sku) { id sku } }', { sku });
    expect(data.product).toEqual({ id, sku: 'CAF\u00c9-1' });
  }
  const twin = await graph.ask('mutation Create($input: CreateProductInput!) { createProduct(input: $input) { id } }', {
    input: { sku: 'CAF\u00c9-1', name: 'N', category: 'C', subCategory: 'D', price: '1' },
  });
  expect(twin.errors?.[0]?.extensions).toMatchObject({ code: 'CONFLICT', reason: 'SKU_TAKEN' });
});

test('a product whose decomposed SKU an earlier release stored beside the composed one is found by it', async () => {
  const { id } = await create({ sku: 'TWI\u00cdN-1' });
  const twin = await create({ sku: 'TWIN-2' });
  await graph.databases.query('products', 'update products set sku = $2 where id = $1', [twin.id, 'TWII\u0301N-1']);
  const find = async (sku: string, headers = {}) =>
    (await graph.ask('query Find($sku: String) { product(sku: $sku) { id } }', { sku }, headers)).data.product;
  expect(await find('TWI\u00cdN-1')).toEqual({ id });
  expect(await find('TWII\u0301N-1')).toEqual({ id: twin.id });
  expect(await find('TWII\u0301N-1', { 'x-max-staleness': '0' })).toEqual({ id: twin.id });
});

test.each([
  // A sigma that ends a word is like any other, and so is the i of an İ.
  [
    '\u039b\u0391\u039c\u03a0\u0391\u03a3.\u03a6\u03a9\u03a3',
    ['\u039b\u0391\u039c\u03a0\u0391\u03a3', '\u03c6\u03c9\u03c2', '\u03bb\u03b1\u03bc\u03c0\u03b1\u03c3'],
  ],
  ['\u0130zmir lambas\u0131', ['izmir', '\u0130ZMIR', '"izmir lambas\u0131"']],
])('a product named %j is found by %j', async (name, texts) => {
  const { id } = await create({ name });
  for (const text of texts) {
    expect((await page('NAME', 100, null, { text })).nodes.map((node) => node.id)).toEqual([id]);
  }
});

describe('a product whose name has punctuation', () => {
  const NAME = "Dr.Smithson's 3.5mm/Quixotic St.John-Lamps (cafe\u0301)";
  let id: string;
  beforeAll(async () => {
    ({ id } = await create({ name: NAME, sku: 'TABLES/7.5-Q' }));
  });

  test.each([
    'smithson',
    "Dr.Smithson's",
    'Dr. Smithson',
    'quixotic',
    '3.5mm/Quixotic',
    'St.John-Lamps',
    'quixotic lamp',
    '"st john lamps"',
    'quixotic -sauder',
    'CAF\u00c9 quixotic',
    'TABLES/7.5-Q',
    'tables q quixotic',
    'nowhere or quixotic',
    NAME,
  ])('is found by %j', async (text) => {
    const { nodes } = await page('NAME', 100, null, { text });
    expect(nodes.map((node) => node.id)).toEqual([id]);
  });

  test.each(['quixotic -smithson', '"john quixotic"'])('is not found by %j', async (text) => {
    expect((await page('NAME', 100, null, { text })).totalCount).toBe(0);
  });
});

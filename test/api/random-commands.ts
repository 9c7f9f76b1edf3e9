import type { Random } from '../harness/random.ts';
import { nonsense } from './nonsense.ts';

/** The service that owns a command or a root field. */
type Owner = 'users' | 'products' | 'orders';

/** One root field of a request, with its variables. */
export interface Command {
  readonly owner: Owner;
  readonly kind: 'mutation' | 'query';
  /** The root field without its arguments. */
  readonly field: string;
  /** By argument: its GraphQL type and its value. */
  readonly args: Readonly<Record<string, readonly [type: string, value: unknown]>>;
  readonly selection: string;
}

/** Ids that commands refer to; all clients use a few of them, so that commands meet. */
export class Pools {
  readonly customers: string[];
  readonly products: string[];
  readonly orders: string[];
  readonly skus: string[] = [];
  readonly cursors: string[] = [];

  constructor(customers: readonly string[], products: readonly string[], orders: readonly string[]) {
    this.customers = [...customers];
    this.products = [...products];
    this.orders = [...orders];
  }
}

const WORDS = ['Ada', 'Björk', 'Chair', 'Desk', "D'Arc", 'Émile', 'Fax', 'Lee-Ann', 'Müller', 'Paper', 'Søren', 'Zoë'];
const CATEGORIES = ['Furniture', 'Office Supplies', 'Technology', 'Odd & Ends'];
const STATUSES = ['PENDING', 'CONFIRMED', 'REJECTED', 'CANCELLED'];
const SORTS = ['NAME', 'PRICE_ASC', 'PRICE_DESC', 'NEWEST', 'BEST_SELLING'];

const USER = 'id name email status version account { balance { amount } entries(first: 2) { totalCount } }';
const ACCOUNT = 'balance { amount } entries(first: 3) { totalCount nodes { amount { amount } reason } }';
const PRODUCT = 'id sku name price { amount } attributes status stock { onHand reserved available } version';
const ORDER = `id number status version total { amount } rejection customer { id name email }
  items { quantity product { id name sku } } history { type version } saga { status steps { name outcome } }`;

/** Writes commands: most make sense, some are nonsense in one argument or another. */
export class CommandWriter {
  readonly #random: Random;
  readonly #pools: Pools;
  #nth = 0;

  constructor(random: Random, pools: Pools) {
    this.#random = random;
    this.#pools = pools;
  }

  command(): Command {
    const random = this.#random;
    const share = random.next();
    if (share < 0.34) return this.#placeOrder();
    if (share < 0.46) return this.#deposit();
    if (share < 0.54) return this.#cancelOrder();
    if (share < 0.62) return this.#registerUser();
    if (share < 0.67) return this.#updateUser();
    if (share < 0.69) return this.#deleteUser();
    if (share < 0.75) return this.#createProduct();
    if (share < 0.78) return this.#updateProduct();
    if (share < 0.83) return this.#changePrice();
    if (share < 0.89) return this.#restock();
    if (share < 0.9) return this.#discontinueProduct();
    return this.query();
  }

  query(): Command {
    const random = this.#random;
    const id = (pool: readonly string[]) => this.#id(pool);
    const page = () => ({
      first: ['Int', this.#or(random.below(5), () => nonsense.integer(random))] as const,
      after: ['String', random.next() < 0.6 ? null : this.#or(this.#cursor(), () => nonsense.text(random))] as const,
    });
    const connection = (node: string) => `totalCount pageInfo { hasNextPage endCursor } nodes { ${node} }`;
    switch (random.below(8)) {
      case 0:
        return {
          owner: 'users',
          kind: 'query',
          field: 'user',
          args: { id: ['ID!', id(this.#pools.customers)] },
          selection: USER,
        };
      case 1:
        return {
          owner: 'users',
          kind: 'query',
          field: 'users',
          args: { ...page(), search: ['String', this.#or(random.pick(WORDS), () => nonsense.text(random))] },
          selection: connection(USER),
        };
      case 2:
        return {
          owner: 'products',
          kind: 'query',
          field: 'product',
          args: { id: ['ID', id(this.#pools.products)] },
          selection: PRODUCT,
        };
      case 3:
        return {
          owner: 'products',
          kind: 'query',
          field: 'product',
          args: { sku: ['String', this.#or(random.pick([...this.#pools.skus, 'none']), () => nonsense.text(random))] },
          selection: PRODUCT,
        };
      case 4: {
        const filter = {
          text: this.#or(random.pick(WORDS), () => nonsense.text(random), 0.4),
          minPrice: this.#or('1', () => nonsense.decimal(random)),
          inStock: random.pick([true, false, null]),
        };
        return {
          owner: 'products',
          kind: 'query',
          field: 'products',
          args: { ...page(), filter: ['ProductFilter', filter], sort: ['ProductSort', random.pick(SORTS)] },
          selection: connection(PRODUCT),
        };
      }
      case 5:
        return {
          owner: 'orders',
          kind: 'query',
          field: 'order',
          args: {
            id: ['ID', id(this.#pools.orders)],
            asOf: [
              'DateTime',
              random.next() < 0.5 ? null : this.#or(new Date().toISOString(), () => nonsense.date(random)),
            ],
          },
          selection: ORDER,
        };
      case 6:
        return {
          owner: 'orders',
          kind: 'query',
          field: 'order',
          args: { number: ['String', this.#or('CA-2016-152156', () => nonsense.text(random))] },
          selection: ORDER,
        };
      default: {
        const filter = {
          status: random.pick([null, ...STATUSES]),
          customerId: random.next() < 0.5 ? null : id(this.#pools.customers),
          placedAfter: random.next() < 0.7 ? null : this.#or('2016-01-01T00:00:00Z', () => nonsense.date(random)),
          placedBefore: random.next() < 0.7 ? null : this.#or('2018-01-01T00:00:00Z', () => nonsense.date(random)),
        };
        return {
          owner: 'orders',
          kind: 'query',
          field: 'orders',
          args: { ...page(), filter: ['OrderFilter', filter] },
          selection: connection(ORDER),
        };
      }
    }
  }

  /** What makes sense, or now and then what does not. */
  #or(sense: unknown, other: () => unknown, share = 0.15): unknown {
    return this.#random.next() < share ? other() : sense;
  }

  #id(pool: readonly string[]): unknown {
    const random = this.#random;
    // Some ids are used much more than others.
    const used = random.next() < 0.6 ? pool[random.below(Math.min(pool.length, 12))] : random.pick(pool);
    return this.#or(used, () => nonsense.id(random), 0.08);
  }

  #cursor(): unknown {
    const { cursors } = this.#pools;
    const random = this.#random;
    if (cursors.length > 0 && random.next() < 0.6) return random.pick(cursors);
    const forged = random.pick([
      ['orders:newest', ['2016-02-30T00:00:00.000Z', 'x']],
      ['orders:newest', ['0000-01-01T00:00:00.000Z', '']],
      ['orders:newest', [null, null]],
      ['users:name', ['\ud800', '\u0000']],
      [{}, 7],
    ]);
    return Buffer.from(JSON.stringify(forged)).toString('base64url');
  }

  #name(): string {
    const random = this.#random;
    return `${random.pick(WORDS)} ${random.pick(WORDS)} ${++this.#nth}`;
  }

  /** A key that is new, or one of a few that are used over and over. */
  #key(): unknown {
    const random = this.#random;
    const share = random.next();
    if (share < 0.75) return `key ${++this.#nth} ${random.below(1_000_000_000)}`;
    if (share < 0.9) return `shared ${random.below(10)}`;
    if (share < 0.95) return `${random.pick(['refund', 'charge'])}:${this.#id(this.#pools.orders)}`;
    return nonsense.text(random);
  }

  #quantity(): unknown {
    return this.#or(1 + this.#random.below(4), () => nonsense.integer(this.#random), 0.08);
  }

  #placeOrder(): Command {
    const random = this.#random;
    const items = Array.from({ length: random.next() < 0.02 ? 0 : 1 + random.below(3) }, () => ({
      productId: this.#id(this.#pools.products),
      quantity: this.#quantity(),
    }));
    const input = {
      customerId: this.#id(this.#pools.customers),
      items,
      waitMs: random.pick([0, 50, 2000, 2000, -1, null, 2_147_483_647].slice(0, random.next() < 0.9 ? 4 : 7)),
    };
    return {
      owner: 'orders',
      kind: 'mutation',
      field: 'placeOrder',
      args: { input: ['PlaceOrderInput!', input], idempotencyKey: ['ID!', this.#key()] },
      selection: ORDER,
    };
  }

  #cancelOrder(): Command {
    const random = this.#random;
    const reason = this.#or('changed my mind', () => nonsense.text(random));
    return {
      owner: 'orders',
      kind: 'mutation',
      field: 'cancelOrder',
      args: { id: ['ID!', this.#id(this.#pools.orders)], reason: ['String!', reason] },
      selection: ORDER,
    };
  }

  #deposit(): Command {
    const random = this.#random;
    const amount = this.#or(random.pick(['0.01', '25', '499.99', '5000.00']), () => nonsense.decimal(random));
    return {
      owner: 'users',
      kind: 'mutation',
      field: 'deposit',
      args: {
        userId: ['ID!', this.#id(this.#pools.customers)],
        amount: ['Decimal!', amount],
        idempotencyKey: ['ID!', this.#key()],
      },
      selection: ACCOUNT,
    };
  }

  #registerUser(): Command {
    const random = this.#random;
    const input = {
      name: this.#or(this.#name(), () => nonsense.text(random)),
      email: this.#or(`u${++this.#nth}.${random.below(1_000_000)}@shop.test`, () => nonsense.text(random)),
      segment: this.#or('Consumer', () => nonsense.text(random)),
      address: random.next() < 0.5 ? null : { city: this.#or('Köln', () => nonsense.text(random)), country: 'Germany' },
    };
    return {
      owner: 'users',
      kind: 'mutation',
      field: 'registerUser',
      args: { input: ['RegisterUserInput!', input] },
      selection: USER,
    };
  }

  #updateUser(): Command {
    const random = this.#random;
    const input = {
      name: this.#or(this.#name(), () => nonsense.text(random)),
      status: random.pick([null, 'ACTIVE', 'ACTIVE', 'SUSPENDED', 'DELETED']),
      expectedVersion: random.next() < 0.8 ? null : nonsense.integer(random),
    };
    return {
      owner: 'users',
      kind: 'mutation',
      field: 'updateUser',
      args: { id: ['ID!', this.#id(this.#pools.customers)], input: ['UpdateUserInput!', input] },
      selection: `${USER} orders(first: 2) { nodes { customer { name email } } }`,
    };
  }

  #deleteUser(): Command {
    return {
      owner: 'users',
      kind: 'mutation',
      field: 'deleteUser',
      args: { id: ['ID!', this.#id(this.#pools.customers)] },
      selection: USER,
    };
  }

  #createProduct(): Command {
    const random = this.#random;
    const input = {
      sku: this.#or(`SKU-${++this.#nth}-${random.below(1_000_000)}`, () => nonsense.text(random)),
      name: this.#or(this.#name(), () => nonsense.text(random)),
      category: this.#or(random.pick(CATEGORIES), () => nonsense.text(random)),
      subCategory: this.#or('Things', () => nonsense.text(random)),
      price: this.#or(random.pick(['1', '9.99', '250.00']), () => nonsense.decimal(random)),
      attributes: this.#or({ colour: 'red' }, () => nonsense.json(random), 0.4),
      onHand: this.#or(random.below(30), () => nonsense.integer(random)),
    };
    return {
      owner: 'products',
      kind: 'mutation',
      field: 'createProduct',
      args: { input: ['CreateProductInput!', input] },
      selection: PRODUCT,
    };
  }

  #updateProduct(): Command {
    const random = this.#random;
    const input = {
      name: this.#or(this.#name(), () => nonsense.text(random)),
      attributes: this.#or({ size: 'M' }, () => nonsense.json(random), 0.4),
    };
    return {
      owner: 'products',
      kind: 'mutation',
      field: 'updateProduct',
      args: { id: ['ID!', this.#id(this.#pools.products)], input: ['UpdateProductInput!', input] },
      selection: PRODUCT,
    };
  }

  #changePrice(): Command {
    const price = this.#or(this.#random.pick(['2.50', '19.00', '120']), () => nonsense.decimal(this.#random));
    return {
      owner: 'products',
      kind: 'mutation',
      field: 'changePrice',
      args: { id: ['ID!', this.#id(this.#pools.products)], price: ['Decimal!', price] },
      selection: PRODUCT,
    };
  }

  #restock(): Command {
    return {
      owner: 'products',
      kind: 'mutation',
      field: 'restock',
      args: {
        id: ['ID!', this.#id(this.#pools.products)],
        quantity: ['Int!', this.#quantity()],
        idempotencyKey: ['ID!', this.#key()],
      },
      selection: PRODUCT,
    };
  }

  #discontinueProduct(): Command {
    return {
      owner: 'products',
      kind: 'mutation',
      field: 'discontinueProduct',
      args: { id: ['ID!', this.#id(this.#pools.products)] },
      selection: PRODUCT,
    };
  }
}

/** Variable names that clients may choose, though something of ours is called the same. */
const VARIABLE_NAMES = ['representations', 'representations_', '_literal', 'v', 'id', '_'];

/** Several commands as one operation with a name, each field under an alias (`c0`, `c1`, …). */
export function writeOperation(
  commands: readonly Command[],
  random: Random,
): { query: string; variables: Record<string, unknown>; operationName: string } {
  const prefix = random.next() < 0.8 ? 'v' : random.pick(VARIABLE_NAMES);
  const operationName = random.pick(['Shop', 'Checkout', 'Admin', `Op${random.below(50)}`]);
  const definitions: string[] = [];
  const variables: Record<string, unknown> = {};
  const fields = commands.map(({ field, args, selection }, i) => {
    const given = Object.entries(args).map(([name, [type, value]]) => {
      const variable = `${prefix}${definitions.length}`;
      definitions.push(`$${variable}: ${type}`);
      variables[variable] = value;
      return `${name}: $${variable}`;
    });
    return `c${i}: ${field}(${given.join(', ')}) { ${selection} }`;
  });
  const kind = commands[0]?.kind ?? 'query';
  return {
    query: `${kind} ${operationName}(${definitions.join(', ')}) { ${fields.join(' ')} }`,
    variables,
    operationName,
  };
}

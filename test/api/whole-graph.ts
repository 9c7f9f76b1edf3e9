import Big from 'big.js';
import { ask } from '../harness/graphql-client.ts';

/** What the graph shows of everything, each list walked to its end. */
export interface WholeGraph {
  readonly users: readonly UserNode[];
  readonly products: readonly ProductNode[];
  readonly orders: readonly OrderNode[];
}

interface Amount {
  readonly amount: string;
}

interface OrderStats {
  readonly orderCount: number;
  readonly totalSpent: Amount;
  readonly lastOrderAt: string | null;
}

interface UserNode {
  readonly id: string;
  readonly name: string;
  readonly email: string;
  readonly status: string;
  readonly account: {
    readonly balance: Amount;
    readonly entries: {
      readonly totalCount: number;
      readonly nodes: readonly AccountEntry[];
      readonly pageInfo: PageInfo;
    };
  };
  readonly orderStats: OrderStats;
  readonly orders: { readonly totalCount: number };
}

interface AccountEntry {
  readonly id: string;
  readonly amount: Amount;
  readonly reason: string;
  readonly orderId: string | null;
}

interface ProductNode {
  readonly id: string;
  readonly stock: { readonly onHand: number; readonly reserved: number; readonly available: number };
  readonly sales: { readonly unitsSold: number; readonly revenue: Amount; readonly orderCount: number };
}

interface OrderNode {
  readonly id: string;
  readonly number: string;
  readonly status: string;
  readonly total: Amount;
  readonly placedAt: string;
  readonly customer: {
    readonly id: string;
    readonly account: { readonly balance: Amount };
    readonly orderStats: OrderStats;
  };
  readonly items: readonly {
    readonly quantity: number;
    readonly lineTotal: Amount;
    readonly product: ProductNode;
  }[];
  readonly saga: { readonly status: string; readonly finishedAt: string | null } | null;
}

interface PageInfo {
  readonly hasNextPage: boolean;
  readonly endCursor: string | null;
}

const MONEY = '{ amount currency }';
const USER_FIELDS = `id name email status segment addresses { line city state postalCode country region } createdAt updatedAt version
  account { balance ${MONEY} } orderStats { orderCount totalSpent ${MONEY} lastOrderAt }`;
const PRODUCT_FIELDS = `id sku name category subCategory price ${MONEY} attributes status stock { onHand reserved available } createdAt updatedAt
  version sales { unitsSold revenue ${MONEY} orderCount }`;
const ENTRIES = `totalCount pageInfo { hasNextPage endCursor } nodes { id amount ${MONEY} reason orderId at }`;

const LISTS = {
  users: `query AllUsers($after: String) { users(first: 100, after: $after) { totalCount pageInfo { hasNextPage endCursor } nodes {
    ${USER_FIELDS} account { entries(first: 100) { ${ENTRIES} } } orders(first: 1) { totalCount nodes { id customer { ${USER_FIELDS} } } } } } }`,
  products: `query AllProducts($after: String) { products(first: 100, after: $after, sort: NEWEST) { totalCount pageInfo { hasNextPage endCursor } nodes {
    ${PRODUCT_FIELDS} } } }`,
  orders: `query AllOrders($after: String) { orders(first: 100, after: $after) { totalCount pageInfo { hasNextPage endCursor } nodes {
    id number status placedAt updatedAt version rejection total ${MONEY} customer { ${USER_FIELDS} }
    items { quantity unitPrice ${MONEY} discount lineTotal ${MONEY} product { ${PRODUCT_FIELDS} } }
    history { type version at data } saga { id status startedAt finishedAt steps { name outcome attempts at error } } } } }`,
};

/** Reads a list to its end. @throws when anything in it cannot be read, or its count is not what it holds */
async function walk<Node extends { readonly id: string }>(
  url: string,
  list: keyof typeof LISTS,
  headers: Record<string, string>,
): Promise<Node[]> {
  const nodes: Node[] = [];
  let after: string | null = null;
  for (;;) {
    const answer = await ask(url, LISTS[list], { after }, headers);
    if (answer.errors || !answer.data) {
      throw new Error(`${list} after ${nodes.length} cannot be read: ${JSON.stringify(answer.errors?.slice(0, 3))}`);
    }
    const page: { totalCount: number; nodes: Node[]; pageInfo: PageInfo } = answer.data[list];
    nodes.push(...page.nodes);
    if (page.pageInfo.hasNextPage) {
      after = page.pageInfo.endCursor;
      continue;
    }
    const different = new Set(nodes.map(({ id }) => id)).size;
    if (different !== nodes.length || page.totalCount !== nodes.length) {
      throw new Error(`${list}: totalCount ${page.totalCount}, ${nodes.length} nodes, ${different} of them different`);
    }
    return nodes;
  }
}

export async function readWholeGraph(url: string, headers: Record<string, string> = {}): Promise<WholeGraph> {
  const users = await walk<UserNode>(url, 'users', headers);
  const whole = await Promise.all(users.map((user) => withAllEntries(url, user, headers)));
  return {
    users: whole,
    products: await walk<ProductNode>(url, 'products', headers),
    orders: await walk<OrderNode>(url, 'orders', headers),
  };
}

async function withAllEntries(url: string, user: UserNode, headers: Record<string, string>): Promise<UserNode> {
  const { entries } = user.account;
  const nodes = [...entries.nodes];
  let { hasNextPage, endCursor: after } = entries.pageInfo;
  while (hasNextPage) {
    const answer = await ask(
      url,
      `query Entries($id: ID!, $after: String) { user(id: $id) { account { entries(first: 100, after: $after) { ${ENTRIES} } } } }`,
      { id: user.id, after },
      headers,
    );
    if (answer.errors) throw new Error(`The entries of ${user.id} cannot be read: ${JSON.stringify(answer.errors)}`);
    const page = answer.data.user.account.entries;
    nodes.push(...page.nodes);
    ({ hasNextPage, endCursor: after } = page.pageInfo);
  }
  return { ...user, account: { ...user.account, entries: { ...entries, nodes } } };
}

/** Where lists, totals, statistics and accounts of a settled graph contradict each other. */
export function contradictionsIn({ users, products, orders }: WholeGraph): string[] {
  const found: string[] = [];
  const check = (holds: boolean, what: string) => {
    if (!holds) found.push(what);
  };
  const confirmed = orders.filter(({ status }) => status === 'CONFIRMED');
  const byCustomer = groupBy(orders, ({ customer }) => customer.id);

  for (const order of orders) {
    const { number, status, items, total, saga } = order;
    check(status !== 'PENDING', `${number} is PENDING`);
    check(!saga || saga.finishedAt !== null, `the saga of ${number} (${saga?.status}) is not finished`);
    const lines = sum(items.map(({ lineTotal }) => lineTotal));
    check(lines.eq(total.amount), `${number} totals ${total.amount}, its lines ${lines}`);
  }

  for (const user of users) {
    const { id, account, orderStats } = user;
    const theirs = byCustomer.get(id) ?? [];
    check(
      user.orders.totalCount === theirs.length,
      `${id} has ${theirs.length} orders, totalCount ${user.orders.totalCount}`,
    );
    expectStats(check, id, orderStats, theirs);
    const { entries, balance } = account;
    check(
      entries.totalCount === entries.nodes.length,
      `${id}: ${entries.totalCount} entries, ${entries.nodes.length} nodes`,
    );
    const booked = sum(entries.nodes.map(({ amount }) => amount));
    check(booked.eq(balance.amount), `${id}: balance ${balance.amount}, entries ${booked}`);
    check(!new Big(balance.amount).lt(0), `${id}: balance ${balance.amount}`);
    const byOrder = groupBy(
      entries.nodes.filter(({ orderId }) => orderId !== null),
      ({ orderId }) => orderId as string,
    );
    for (const order of theirs) {
      if (!order.saga) continue;
      const booking = byOrder.get(order.id) ?? [];
      byOrder.delete(order.id);
      const paid = sum(booking.map(({ amount }) => amount)).neg();
      const due = order.status === 'CONFIRMED' ? order.total.amount : '0';
      check(paid.eq(due), `${order.number} (${order.status}) costs ${due}, and ${paid} is paid for it`);
      check(booking.filter(({ reason }) => reason === 'charge').length <= 1, `${order.number} is charged twice`);
    }
    check(byOrder.size === 0, `${id}: entries of orders that are not theirs: ${[...byOrder.keys()]}`);
  }

  for (const { customer } of orders) {
    expectStats(check, customer.id, customer.orderStats, byCustomer.get(customer.id) ?? []);
  }

  const sold = new Map<string, { units: number; revenue: Big; orders: Set<string> }>();
  for (const { id, items } of confirmed) {
    for (const { product, quantity, lineTotal } of items) {
      const sales = sold.get(product.id) ?? { units: 0, revenue: new Big(0), orders: new Set() };
      sold.set(product.id, sales);
      sales.units += quantity;
      sales.revenue = sales.revenue.plus(lineTotal.amount);
      sales.orders.add(id);
    }
  }
  const shown = [...products, ...orders.flatMap(({ items }) => items.map(({ product }) => product))];
  for (const { id, stock, sales } of shown) {
    const { units = 0, revenue = new Big(0), orders: theirs = new Set() } = sold.get(id) ?? {};
    check(
      sales.unitsSold === units && revenue.eq(sales.revenue.amount) && sales.orderCount === theirs.size,
      `${id}: sales ${JSON.stringify(sales)}, sold ${units} for ${revenue} in ${theirs.size} orders`,
    );
    check(
      stock.reserved === 0 && stock.onHand >= 0,
      `${id}: stock ${JSON.stringify(stock)}, and nothing is in progress`,
    );
    check(stock.available === stock.onHand - stock.reserved, `${id}: stock ${JSON.stringify(stock)}`);
  }
  return [...new Set(found)];
}

function expectStats(
  check: (holds: boolean, what: string) => void,
  id: string,
  { orderCount, totalSpent, lastOrderAt }: OrderStats,
  orders: readonly OrderNode[],
): void {
  const theirs = orders.filter(({ status }) => status === 'CONFIRMED');
  const spent = sum(theirs.map(({ total }) => total));
  const last =
    theirs
      .map(({ placedAt }) => placedAt)
      .sort()
      .at(-1) ?? null;
  check(
    orderCount === theirs.length && spent.eq(totalSpent.amount) && lastOrderAt === last,
    `${id}: orderStats ${orderCount}, ${totalSpent.amount}, ${lastOrderAt}; confirmed ${theirs.length}, ${spent}, ${last}`,
  );
}

function sum(amounts: readonly Amount[]): Big {
  return amounts.reduce((all, { amount }) => all.plus(amount), new Big(0));
}

function groupBy<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group) group.push(item);
    else groups.set(key, [item]);
  }
  return groups;
}

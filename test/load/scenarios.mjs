// What clients do: each scenario chooses operations as its users would.

const PRODUCT_PAGE = `query ProductPage($id: ID!) {
  product(id: $id) { sku name category price { amount currency } stock { available } sales { unitsSold orderCount } }
}`;
const LISTING = `query Listing($category: String, $first: Int) {
  categories { name productCount }
  products(first: $first, sort: BEST_SELLING, filter: { category: $category }) {
    totalCount nodes { id name price { amount } stock { available } }
  }
}`;
const ORDER_PAGE = `query OrderPage($number: String!) {
  order(number: $number) {
    status placedAt total { amount currency } customer { name email }
    items { quantity lineTotal { amount } product { sku name category price { amount } stock { available } } }
  }
}`;
const HISTORY = `query History($id: ID!) {
  user(id: $id) {
    name orderStats { orderCount totalSpent { amount } }
    orders(first: 10) { nodes { number status total { amount } items { quantity product { name } } } }
  }
}`;
const BACK_OFFICE = `query BackOffice($after: String) {
  orders(first: 25, after: $after) {
    totalCount pageInfo { endCursor }
    nodes { number status total { amount } customer { name email segment addresses { city } } items { quantity product { name category } } }
  }
}`;
const USERS = `query Users($search: String) { users(first: 20, search: $search) { nodes { id name status orderStats { orderCount } } } }`;
const PLACE_ORDER = `mutation PlaceOrder($input: PlaceOrderInput!, $key: ID!) {
  placeOrder(input: $input, idempotencyKey: $key) { number status total { amount } }
}`;
const RESTOCK = `mutation Restock($id: ID!, $key: ID!) { restock(id: $id, quantity: 50, idempotencyKey: $key) { stock { available } } }`;
const DEPOSIT = `mutation Deposit($id: ID!, $key: ID!) { deposit(userId: $id, amount: "500.00", idempotencyKey: $key) { balance { amount } } }`;

/** Asks for what there is to ask for. */
export const DATA_QUERY = `{
  categories { name }
  products(first: 100, sort: BEST_SELLING) { nodes { id } }
  users(first: 100) { nodes { id name } }
  orders(first: 100) { nodes { number } edges { cursor } }
}`;

/** From the answer: ids and names that scenarios choose from. */
export function dataOf({ categories, products, users, orders }) {
  const ids = ({ nodes }) => nodes.map(({ id }) => id);
  return {
    categories: categories.map(({ name }) => name),
    products: ids(products),
    users: ids(users),
    names: users.nodes.map(({ name }) => name.split(' ')[0]),
    orders: orders.nodes.map(({ number }) => number),
    cursors: orders.edges.map(({ cursor }) => cursor),
  };
}

const ask = (name, query, variables) => ({ name, query, variables });

/** The n-th of a list is chosen about 1/n as often as the first. */
export function zipf(list) {
  return list[Math.max(0, Math.ceil(list.length ** Math.random()) - 1)];
}

const uniform = (list) => list[Math.floor(Math.random() * list.length)];
const key = () => `load-${Math.random().toString(36).slice(2)}${Date.now()}`;

/** By name: what it is, and the next operation of one of its clients; `data` has ids of products, users and orders. */
export const SCENARIOS = {
  storefront: {
    title: 'browsing: product pages and lists',
    next: ({ products, categories }) =>
      Math.random() < 0.75
        ? ask('product page', PRODUCT_PAGE, { id: zipf(products) })
        : ask('listing', LISTING, { category: uniform(categories), first: 24 }),
  },
  history: {
    title: 'customers look at their orders',
    next: ({ users, orders }) =>
      Math.random() < 0.5
        ? ask('history', HISTORY, { id: zipf(users) })
        : ask('order page', ORDER_PAGE, { number: zipf(orders) }),
  },
  office: {
    title: 'the back office pages through orders and looks for users',
    next: ({ names, cursors }) =>
      Math.random() < 0.7
        ? ask('orders', BACK_OFFICE, { after: uniform(cursors) })
        : ask('users', USERS, { search: uniform(names) }),
  },
  checkout: {
    title: 'browsing, and one in ten orders; stock and accounts are filled up',
    next: ({ products, users, categories }) => {
      const choice = Math.random();
      if (choice < 0.1) {
        const items = [{ productId: zipf(products), quantity: 1 }];
        return ask('place order', PLACE_ORDER, { input: { customerId: uniform(users), items }, key: key() });
      }
      if (choice < 0.12) return ask('restock', RESTOCK, { id: zipf(products), key: key() });
      if (choice < 0.14) return ask('deposit', DEPOSIT, { id: uniform(users), key: key() });
      return SCENARIOS.storefront.next({ products, categories });
    },
  },
  hot: {
    title: 'everybody looks at one product',
    next: ({ products }) => ask('hot product', PRODUCT_PAGE, { id: products[0] }),
  },
};

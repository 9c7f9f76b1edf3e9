import { setTimeout as sleep } from 'node:timers/promises';
import { ask, type GraphQLAnswer } from '../harness/graphql-client.ts';
import { Random } from '../harness/random.ts';

const FINAL = new Set(['CONFIRMED', 'REJECTED', 'CANCELLED']);
const PLACE =
  'mutation ($input: PlaceOrderInput!, $key: ID!) { placeOrder(input: $input, idempotencyKey: $key) { id status } }';
/** How long a client polls for a final status before it leaves and checks later. */
const PATIENCE_MS = 15_000;
/** How long a client repeats a request that is not answered. */
const INSIST_MS = 240_000;

/** An order as the client that placed it has seen it. */
export interface ClientOrder {
  readonly key: string;
  id: string | null;
  /** Whether it asked to cancel; then a CONFIRMED that it saw before may be CANCELLED later. */
  cancelled: boolean;
  /** The last final status that it was shown. */
  seen: string | null;
}

export interface Item {
  readonly productId: string;
  readonly quantity: number;
}

export interface Shop {
  readonly gateways: readonly string[];
  readonly customers: readonly string[];
  readonly products: readonly string[];
}

/** Clients that place orders until there are enough, repeat what was not answered, and record the responses. */
export class OrderClients {
  readonly orders: ClientOrder[] = [];
  /** How many orders are done with, as far as their client is concerned. */
  done = 0;
  /** Answers that were errors, by code: what a person would have seen without asking again. */
  readonly errors = new Map<string, number>();
  readonly #shop: Shop;
  readonly #seed: number;
  readonly #unanswered = new Set<Promise<void>>();
  #stopped = false;
  #single = 0;

  constructor(shop: Shop, seed: number) {
    this.#shop = shop;
    this.#seed = seed;
  }

  /**
   * Resolves when `orders` orders were placed, or it was stopped, and every order that was begun was answered.
   *
   * @param clients how many at the same time
   * @param restMs how long a client rests after an order
   */
  async run(orders: number, clients: number, restMs = 0): Promise<void> {
    let given = 0;
    const client = async () => {
      while (given < orders && !this.#stopped) {
        await this.#order(given++);
        await sleep(restMs);
      }
    };
    await Promise.all(Array.from({ length: clients }, client));
    await Promise.all(this.#unanswered);
  }

  /** No client begins another order. */
  stop(): void {
    this.#stopped = true;
  }

  /**
   * Places one order through one gateway, now. What is not answered is repeated later, like any order.
   *
   * @param items what is ordered; by default a product
   * @returns its status, or the code of the error
   */
  async place(gateway: string, waitMs: number, items?: readonly Item[]): Promise<string> {
    const { customers, products } = this.#shop;
    const n = this.#single++;
    const order = this.#begin(`single-${this.#seed}-${n}`);
    const input = {
      customerId: customers[n % customers.length] as string,
      items: items ?? [{ productId: products[n % products.length] as string, quantity: 1 }],
      waitMs,
    };
    const variables = { input, key: order.key };
    const answer = await ask(gateway, PLACE, variables).catch(() => null);
    if (answer?.data?.placeOrder) {
      note(order, answer.data.placeOrder);
      return answer.data.placeOrder.status;
    }
    const repeated = this.#insist(new Random(n), PLACE, variables).then(({ placeOrder }) => note(order, placeOrder));
    this.#unanswered.add(repeated);
    // `run` reports a failure.
    void repeated.then(
      () => this.#unanswered.delete(repeated),
      () => undefined,
    );
    return codeOf(answer);
  }

  /** Repeats a command through one gateway or the other until it is answered. */
  async command(query: string, variables: Record<string, unknown>): Promise<void> {
    await this.#insist(new Random(this.#seed), query, variables);
  }

  #begin(key: string): ClientOrder {
    const order: ClientOrder = { key, id: null, cancelled: false, seen: null };
    this.orders.push(order);
    return order;
  }

  async #order(n: number): Promise<void> {
    const random = new Random(this.#seed * 1_000_003 + n);
    const { customers, products } = this.#shop;
    const order = this.#begin(`order-${this.#seed}-${n}`);
    const items = Array.from({ length: 1 + random.below(3) }, () => ({
      productId: random.pick(products),
      quantity: 1 + random.below(3),
    }));
    const input = { customerId: random.pick(customers), items, waitMs: random.pick([0, 100, 2000]) };
    const place = async () => {
      const { placeOrder } = await this.#insist(random, PLACE, { input, key: order.key });
      note(order, placeOrder);
    };
    const kind = random.next();
    // Some send everything twice at the same time.
    await Promise.all(kind < 0.1 ? [place(), place()] : [place()]);
    if (kind > 0.85) await this.#cancel(order, random);
    await this.#watch(order, random);
    this.done += 1;
  }

  async #cancel(order: ClientOrder, random: Random): Promise<void> {
    order.cancelled = true;
    const answer = await this.#insist(
      random,
      'mutation ($id: ID!) { cancelOrder(id: $id, reason: "changed my mind") { status } }',
      { id: order.id },
      ['CONFLICT'],
    );
    if (answer?.cancelOrder) order.seen = answer.cancelOrder.status;
  }

  async #watch(order: ClientOrder, random: Random): Promise<void> {
    const deadline = Date.now() + PATIENCE_MS;
    while (order.seen === null && Date.now() < deadline) {
      const data = await this.#insist(random, 'query ($id: ID!) { order(id: $id) { status } }', { id: order.id });
      if (!data.order) throw new Error(`Order ${order.id} was answered, and is not there.`);
      if (FINAL.has(data.order.status)) order.seen = data.order.status;
      else await sleep(100);
    }
  }

  /** Asks one gateway or the other until there is an answer; null when it is an error that is accepted. */
  async #insist(
    random: Random,
    query: string,
    variables: Record<string, unknown>,
    accepted: readonly string[] = [],
    // biome-ignore lint/suspicious/noExplicitAny: a GraphQL answer has the shape of its question.
  ): Promise<any> {
    const { gateways } = this.#shop;
    const deadline = Date.now() + INSIST_MS;
    for (let attempt = random.below(gateways.length); ; attempt++) {
      const gateway = gateways[attempt % gateways.length] as string;
      const answer: GraphQLAnswer | null = await ask(gateway, query, variables).catch(() => null);
      if (answer?.data && !answer.errors) return answer.data;
      const code = codeOf(answer);
      if (accepted.includes(code)) return null;
      this.errors.set(code, (this.errors.get(code) ?? 0) + 1);
      if (code === 'BAD_USER_INPUT' || code === 'CONFLICT') throw new Error(JSON.stringify(answer?.errors));
      if (Date.now() > deadline) throw new Error(`No answer within ${INSIST_MS} ms; the last was ${code}.`);
      await sleep(50 + random.below(100));
    }
  }
}

/** Records the response that the client got for its order. */
function note(order: ClientOrder, { id, status }: { readonly id: string; readonly status: string }): void {
  if (order.id !== null && order.id !== id) {
    throw new Error(`The key ${order.key} stands for two orders: ${order.id} and ${id}.`);
  }
  order.id = id;
  if (FINAL.has(status)) order.seen = status;
}

const codeOf = (answer: GraphQLAnswer | null) => String(answer?.errors?.[0]?.extensions.code ?? 'NO_ANSWER');

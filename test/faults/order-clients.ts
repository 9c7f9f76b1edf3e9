import { setTimeout as sleep } from 'node:timers/promises';
import { ask, type GraphQLAnswer } from '../harness/graphql-client.ts';
import { Random } from '../harness/random.ts';

const FINAL = new Set(['CONFIRMED', 'REJECTED', 'CANCELLED']);
/** How long a client that waits for a final status asks again, before it leaves and looks later. */
const PATIENCE_MS = 15_000;

/** What a client knows of an order that it placed. */
export interface ClientOrder {
  readonly key: string;
  id: string | null;
  /** Whether it asked to cancel; then a CONFIRMED that it saw before may be CANCELLED later. */
  cancelled: boolean;
  /** The last final status that it was shown. */
  seen: string | null;
}

export interface Shop {
  readonly gateways: readonly string[];
  readonly customers: readonly string[];
  readonly products: readonly string[];
}

/** Clients that place orders until there are enough, repeat what was not answered, and remember what they were told. */
export class OrderClients {
  readonly orders: ClientOrder[] = [];
  /** How many orders are done with, as far as their client is concerned. */
  done = 0;
  /** Answers that were errors, by code: what a person would have seen without asking again. */
  readonly errors = new Map<string, number>();
  readonly #shop: Shop;
  readonly #seed: number;

  constructor(shop: Shop, seed: number) {
    this.#shop = shop;
    this.#seed = seed;
  }

  /** @param clients how many at the same time */
  async run(orders: number, clients: number): Promise<void> {
    let given = 0;
    const client = async () => {
      while (given < orders) await this.#order(given++);
    };
    await Promise.all(Array.from({ length: clients }, client));
  }

  async #order(n: number): Promise<void> {
    const random = new Random(this.#seed * 1_000_003 + n);
    const { customers, products } = this.#shop;
    const order: ClientOrder = { key: `order-${this.#seed}-${n}`, id: null, cancelled: false, seen: null };
    this.orders.push(order);
    const items = Array.from({ length: 1 + random.below(3) }, () => ({
      productId: random.pick(products),
      quantity: 1 + random.below(3),
    }));
    const input = { customerId: random.pick(customers), items, waitMs: random.pick([0, 100, 2000]) };
    const place = async () => {
      const { placeOrder } = await this.#insist(
        random,
        'mutation ($input: PlaceOrderInput!, $key: ID!) { placeOrder(input: $input, idempotencyKey: $key) { id status } }',
        { input, key: order.key },
      );
      if (order.id !== null && order.id !== placeOrder.id) {
        throw new Error(`The key ${order.key} stands for two orders: ${order.id} and ${placeOrder.id}.`);
      }
      order.id = placeOrder.id;
      if (FINAL.has(placeOrder.status)) order.seen = placeOrder.status;
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
    for (let attempt = random.below(gateways.length); ; attempt++) {
      const gateway = gateways[attempt % gateways.length] as string;
      const answer: GraphQLAnswer | null = await ask(gateway, query, variables).catch(() => null);
      if (answer?.data && !answer.errors) return answer.data;
      const code = String(answer?.errors?.[0]?.extensions.code ?? 'NO_ANSWER');
      if (accepted.includes(code)) return null;
      this.errors.set(code, (this.errors.get(code) ?? 0) + 1);
      if (code === 'BAD_USER_INPUT' || code === 'CONFLICT') throw new Error(JSON.stringify(answer?.errors));
      await sleep(50 + random.below(100));
    }
  }
}

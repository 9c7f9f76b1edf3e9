/** One line of an order as it was agreed. Amounts are exact decimal strings. */
export interface OrderLine {
  readonly productId: string;
  readonly quantity: number;
  readonly unitPrice: string;
  readonly discount: string;
  readonly lineTotal: string;
}

/** A customer placed an order. Its prices are a quote, until the stock is reserved. */
export interface OrderPlaced {
  readonly type: 'OrderPlaced';
  readonly data: {
    readonly number: string;
    readonly customerId: string;
    /** ISO 4217 code. */
    readonly currency: string;
    readonly lines: readonly OrderLine[];
    readonly total: string;
  };
}

/** The products service had other prices when it reserved the stock than the order was placed with. */
export interface OrderRepriced {
  readonly type: 'OrderRepriced';
  readonly data: { readonly lines: readonly OrderLine[]; readonly total: string };
}

/** The stock is taken and the money is paid: the order stands. */
export interface OrderConfirmed {
  readonly type: 'OrderConfirmed';
  readonly data: Readonly<Record<string, never>>;
}

/** The order could not be fulfilled; `reason` is for the customer. */
export interface OrderRejected {
  readonly type: 'OrderRejected';
  readonly data: { readonly reason: string };
}

/** The customer or the shop took the order back. */
export interface OrderCancelled {
  readonly type: 'OrderCancelled';
  readonly data: { readonly reason: string };
}

export type OrderEvent = OrderPlaced | OrderRepriced | OrderConfirmed | OrderRejected | OrderCancelled;

/** An event as it is stored: its order, its version in that order, and when it happened. */
export type RecordedOrderEvent = OrderEvent & {
  readonly orderId: string;
  /** 1 for the first event of an order, without gaps. */
  readonly version: number;
  readonly at: Date;
};

/** The shape in which `data` of each type is written now; older shapes are brought up when they are read. */
export const SCHEMA_VERSIONS: Readonly<Record<OrderEvent['type'], number>> = {
  OrderPlaced: 2,
  OrderRepriced: 1,
  OrderConfirmed: 1,
  OrderRejected: 1,
  OrderCancelled: 1,
};

type Data = Readonly<Record<string, unknown>>;

/** How `data` of a type and version becomes that of the next version. */
const UPCASTERS: Readonly<Record<string, (data: Data) => Data>> = {
  // Orders of the first release did not say their currency; there was one.
  'OrderPlaced 1': (data) => ({ ...data, currency: 'USD' }),
};

/**
 * Brings stored data of an event to the present shape. What is stored is never changed.
 *
 * @throws Error when it was written by a newer release
 */
export function upcast(type: OrderEvent['type'], schemaVersion: number, data: Data): OrderEvent {
  const latest = SCHEMA_VERSIONS[type];
  if (schemaVersion > latest) {
    throw new Error(
      `${type} is stored in schema version ${schemaVersion}; this release reads versions up to ${latest}.`,
    );
  }
  let current = data;
  for (let version = schemaVersion; version < latest; version++) {
    const next = UPCASTERS[`${type} ${version}`];
    if (!next) throw new Error(`${type} has no upcaster from schema version ${version} to the next.`);
    current = next(current);
  }
  return { type, data: current } as unknown as OrderEvent;
}

/** One line of an order as it was agreed. Amounts are exact decimal strings. */
export interface OrderLine {
  readonly productId: string;
  readonly quantity: number;
  readonly unitPrice: string;
  readonly discount: string;
  readonly lineTotal: string;
}

/** A customer asked for an order. */
export interface OrderPlaced {
  readonly type: 'OrderPlaced';
  readonly data: {
    readonly number: string;
    readonly customerId: string;
    readonly lines: readonly OrderLine[];
    readonly total: string;
  };
}

/** Stock is reserved and the money is there: the order stands. */
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

export type OrderEvent = OrderPlaced | OrderConfirmed | OrderRejected | OrderCancelled;

/** An event as it is kept: which order, the how-many-th of it, and when it happened. */
export type RecordedOrderEvent = OrderEvent & {
  readonly orderId: string;
  /** 1 for the first event of an order, without gaps. */
  readonly version: number;
  readonly at: Date;
};

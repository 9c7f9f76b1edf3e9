import type { LoggedEvent } from '@tributary/bus';
import type { NewEvent } from '@tributary/events';
import type { ProductRow } from './storage/tables.js';

export type ProductEventType = 'ProductCreated' | 'ProductUpdated' | 'ProductPriceChanged' | 'ProductDiscontinued';

/** Events of a product carry what the product is now, so that the newest alone is enough to make a copy. */
export function productEvent(type: ProductEventType, product: ProductRow): NewEvent {
  const { sku, name, category, sub_category: subCategory, price, attributes, status } = product;
  return {
    type,
    schemaVersion: 1,
    aggregateType: 'Product',
    aggregateId: product.id,
    aggregateVersion: product.version,
    data: { sku, name, category, subCategory, price, attributes, status },
  };
}

/** Units were added to the stock. */
export function stockReceived(
  productId: string,
  stockVersion: number,
  data: { readonly quantity: number; readonly onHand: number; readonly reason: string },
): NewEvent {
  return {
    type: 'StockReceived',
    schemaVersion: 1,
    aggregateType: 'Stock',
    aggregateId: productId,
    aggregateVersion: stockVersion,
    data,
  };
}

/** Units were reserved, sold, released or taken back; the data is the stock after it. */
export function stockMoved(
  productId: string,
  stockVersion: number,
  data: { readonly onHand: number; readonly reserved: number; readonly sold: number },
): NewEvent {
  return {
    type: 'StockMoved',
    schemaVersion: 1,
    aggregateType: 'Stock',
    aggregateId: productId,
    aggregateVersion: stockVersion,
    data,
  };
}

export type ReservationEventType =
  | 'StockReserved'
  | 'StockRefused'
  | 'StockCommitted'
  | 'StockReleased'
  | 'ReservationExpired';

/** What became of an order's reservation: the answer to its command, or that its time was up. */
export function reservationEvent(
  type: ReservationEventType,
  orderId: string,
  reservationVersion: number,
  data: Readonly<Record<string, unknown>>,
): NewEvent {
  return {
    type,
    schemaVersion: 1,
    aggregateType: 'Reservation',
    aggregateId: orderId,
    aggregateVersion: reservationVersion,
    data,
  };
}

/** A product shows its stock, too. */
export function invalidatedBy({ aggregateType, aggregateId }: LoggedEvent): string[] {
  return aggregateType === 'Product' || aggregateType === 'Stock' ? [`Product:${aggregateId}`] : [];
}

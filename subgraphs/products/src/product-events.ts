import type { NewEvent } from '@tributary/shared/events/outbox';
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

/** Pieces came into stock. */
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

import { originOf } from '@tributary/events';
import type { GraphQLRequest } from '@tributary/server';
import { rowLoader } from '@tributary/subgraph';
import type { Products } from './products.js';

/** Fresh loaders for a request: what they hold never outlives it. */
export function createContext(products: Products, request: GraphQLRequest) {
  return {
    /** Where commands of this request come from. */
    origin: originOf(request),
    product: rowLoader(
      (ids: readonly string[]) => products.byIds(ids),
      (row) => row.id,
    ),
    productBySku: rowLoader(
      (skus: readonly string[]) => products.bySkus(skus),
      (row) => row.sku,
    ),
    stock: rowLoader(
      (ids: readonly string[]) => products.stockOf(ids),
      (row) => row.product_id,
    ),
  };
}

/** What the resolvers of one request share. */
export type ProductsContext = ReturnType<typeof createContext>;

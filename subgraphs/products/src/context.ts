import { originOf } from '@tributary/shared/events/origin';
import type { GraphQLRequest } from '@tributary/shared/http/graphql-endpoint';
import { rowLoader } from '@tributary/shared/subgraph/loaders';
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

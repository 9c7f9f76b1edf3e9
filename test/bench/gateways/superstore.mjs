// Composed queries of the Superstore: what a shop, a customer and an office ask for.
export const QUERIES = {
  storefront: `query Storefront {
    categories { name subCategories productCount }
    products(first: 24, sort: BEST_SELLING) {
      totalCount
      nodes { id sku name category price { amount currency } stock { available } sales { unitsSold } }
    }
  }`,
  history: `query History {
    user(id: "CG-12520") {
      name email orderStats { orderCount totalSpent { amount } lastOrderAt }
      orders(first: 10) {
        nodes {
          number status placedAt total { amount currency }
          items { quantity lineTotal { amount } product { sku name price { amount } stock { available } } }
        }
      }
    }
  }`,
  office: `query Office {
    orders(first: 50) {
      totalCount
      nodes {
        number status placedAt total { amount }
        customer { name email segment status addresses { city state } orderStats { orderCount } }
        items { quantity unitPrice { amount } product { name category sales { revenue { amount } } } }
      }
    }
  }`,
};

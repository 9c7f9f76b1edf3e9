/** A query to try first: one order, composed from the databases of all three services. */
export const SAMPLE_QUERY = `{
  order(number: "CA-2016-152156") {
    status
    total { amount currency }
    customer { name email orderStats { orderCount totalSpent { amount } } }
    items {
      quantity
      lineTotal { amount }
      product { name stock { available } sales { unitsSold } }
    }
  }
}
`;

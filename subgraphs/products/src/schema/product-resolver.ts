import { badUserInput, Decimal } from '@tributary/server';
import { MAX_INT, money, Page, PLACEHOLDER_DATE, unknownProduct } from '@tributary/subgraph';
import type { Kysely } from 'kysely';
import { Arg, Ctx, Directive, FieldResolver, ID, Int, Mutation, Query, Resolver, Root } from 'type-graphql';
import type { ProductsContext } from '../context.js';
import { countProducts, listProducts, productCursor, productPage } from '../product-listing.js';
import { Products } from '../products.js';
import type { ProductRow, ProductsTables } from '../storage/tables.js';
import {
  Category,
  CreateProductInput,
  Product,
  ProductConnection,
  ProductFilter,
  ProductSort,
  ProductStatus,
  Stock,
  UpdateProductInput,
} from './product-types.js';

@Resolver(() => Product)
export class ProductResolver {
  readonly #db: Kysely<ProductsTables>;
  readonly #products: Products;

  constructor(db: Kysely<ProductsTables>) {
    this.#db = db;
    this.#products = new Products(db);
  }

  @Directive('@cacheControl')
  @Query(() => Product, { nullable: true, description: 'By id or by SKU; exactly one of them.' })
  async product(
    @Arg('id', () => ID, { nullable: true }) id: string | null | undefined,
    @Arg('sku', () => String, { nullable: true }) sku: string | null | undefined,
    @Ctx() context: ProductsContext,
  ): Promise<Product | null> {
    if ((id == null) === (sku == null)) {
      throw badUserInput('id', 'A product is found by "id" or by "sku"; give exactly one of them.', 'ONE_OF');
    }
    return id != null ? findProduct(context, { id }) : findProduct(context, { sku: sku as string });
  }

  @Directive('@cacheControl(of: ["Product"])')
  @Query(() => ProductConnection, {
    description: 'Discontinued products are listed, too, unless `filter.status` leaves them out.',
  })
  async products(
    @Arg('first', () => Int, { nullable: true, defaultValue: 20 }) first: number | null,
    @Arg('after', () => String, { nullable: true }) after: string | null | undefined,
    @Arg('filter', () => ProductFilter, { nullable: true }) givenFilter: ProductFilter | null | undefined,
    @Arg('sort', () => ProductSort, { nullable: true, defaultValue: ProductSort.NAME }) givenSort: ProductSort | null,
  ): Promise<Page<Product>> {
    const sort = givenSort ?? ProductSort.NAME;
    const filter = givenFilter ?? {};
    const page = productPage({ first, after }, sort);
    const rows = await listProducts(this.#db, page, filter, sort);
    const cursors = new Map(rows.map((row) => [row.id, productCursor(sort, row)]));
    return new Page(
      page,
      rows.map(showProduct),
      (product) => cursors.get(product.id) as string,
      () => countProducts(this.#db, filter),
    );
  }

  @Directive('@cacheControl(of: ["Product"])')
  @Query(() => [Category])
  async categories(): Promise<Category[]> {
    const byName = new Map<string, Category>();
    for (const { category, sub_category, count } of await this.#products.categories()) {
      const entry = byName.get(category) ?? { name: category, subCategories: [], productCount: 0 };
      entry.subCategories.push(sub_category);
      entry.productCount += count;
      byName.set(category, entry);
    }
    return [...byName.values()];
  }

  @FieldResolver(() => Stock)
  async stock(@Root() product: Product, @Ctx() context: ProductsContext): Promise<Stock> {
    const row = await context.stock.load(product.id);
    const { on_hand: onHand, reserved } = row ?? { on_hand: 0, reserved: 0 };
    // Returned units can bring a stock beyond what an Int holds; then the largest Int is shown.
    const show = (units: number) => Math.min(units, MAX_INT);
    return { onHand: show(onHand), reserved: show(reserved), available: show(onHand - reserved) };
  }

  @Mutation(() => Product)
  async createProduct(
    @Arg('input', () => CreateProductInput) input: CreateProductInput,
    @Ctx() { origin }: ProductsContext,
  ): Promise<Product> {
    return showProduct(await this.#products.create(input, origin));
  }

  @Mutation(() => Product)
  async updateProduct(
    @Arg('id', () => ID) id: string,
    @Arg('input', () => UpdateProductInput) input: UpdateProductInput,
    @Ctx() { origin }: ProductsContext,
  ): Promise<Product> {
    return showProduct(await this.#products.update(id, input, origin));
  }

  @Mutation(() => Product)
  async changePrice(
    @Arg('id', () => ID) id: string,
    @Arg('price', () => Decimal) price: string,
    @Ctx() { origin }: ProductsContext,
  ): Promise<Product> {
    return showProduct(await this.#products.changePrice(id, price, origin));
  }

  @Mutation(() => Product, { description: 'Adds units to the stock. A repetition with the same key has no effect.' })
  async restock(
    @Arg('id', () => ID) id: string,
    @Arg('quantity', () => Int) quantity: number,
    @Arg('idempotencyKey', () => ID) idempotencyKey: string,
    @Ctx() { origin }: ProductsContext,
  ): Promise<Product> {
    return showProduct(await this.#products.restock(id, quantity, idempotencyKey, origin));
  }

  @Mutation(() => Product, { description: 'Removes a product from sale. It remains visible in past orders.' })
  async discontinueProduct(@Arg('id', () => ID) id: string, @Ctx() { origin }: ProductsContext): Promise<Product> {
    return showProduct(await this.#products.discontinue(id, origin));
  }
}

/**
 * The product that another subgraph refers to, by either key. For an unknown id it is a placeholder, because an order outlives
 * its products.
 */
export async function resolveProduct(
  context: ProductsContext,
  reference: { readonly id?: string; readonly sku?: string },
): Promise<Product | null> {
  const product = await findProduct(context, reference);
  if (product || reference.id === undefined) return product;
  return {
    id: reference.id,
    ...unknownProduct(reference.id),
    category: 'Unknown',
    subCategory: 'Unknown',
    price: money('0'),
    attributes: {},
    status: ProductStatus.DISCONTINUED,
    createdAt: PLACEHOLDER_DATE,
    updatedAt: PLACEHOLDER_DATE,
    version: 0,
  };
}

export async function findProduct(
  context: ProductsContext,
  { id, sku }: { readonly id?: string; readonly sku?: string },
): Promise<Product | null> {
  const row =
    id !== undefined ? await context.product.load(id) : sku !== undefined ? await loadBySku(context, sku) : null;
  return row && showProduct(row);
}

/** As the SKU is given first: one that an earlier release stored may not be in composed form (NFC). */
async function loadBySku({ productBySku }: ProductsContext, sku: string): Promise<ProductRow | null> {
  const composed = sku.normalize('NFC');
  const [asGiven, asComposed] = await Promise.all([productBySku.load(sku), productBySku.load(composed)]);
  return asGiven ?? asComposed;
}

function showProduct(row: ProductRow): Product {
  return {
    id: row.id,
    sku: row.sku,
    name: row.name,
    category: row.category,
    subCategory: row.sub_category,
    price: money(row.price),
    attributes: row.attributes,
    status: row.status as ProductStatus,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    version: row.version,
  };
}

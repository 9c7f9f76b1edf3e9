import { DateTime, Decimal, JSONValue } from '@tributary/server';
import { connectionOf, Money } from '@tributary/subgraph';
import { Directive, Field, ID, InputType, Int, ObjectType, registerEnumType } from 'type-graphql';

export enum ProductStatus {
  ACTIVE = 'ACTIVE',
  DISCONTINUED = 'DISCONTINUED',
}
registerEnumType(ProductStatus, { name: 'ProductStatus' });

export enum ProductSort {
  NAME = 'NAME',
  PRICE_ASC = 'PRICE_ASC',
  PRICE_DESC = 'PRICE_DESC',
  NEWEST = 'NEWEST',
  BEST_SELLING = 'BEST_SELLING',
}
registerEnumType(ProductSort, { name: 'ProductSort' });

@ObjectType({ simpleResolvers: true })
export class Stock {
  @Field(() => Int) onHand!: number;
  @Field(() => Int, { description: 'Reserved for orders in progress.' }) reserved!: number;
  @Field(() => Int, { description: 'onHand - reserved' }) available!: number;
}

@Directive('@key(fields: "id")')
@Directive('@key(fields: "sku")')
@Directive('@cacheControl')
@ObjectType({ simpleResolvers: true })
export class Product {
  @Field(() => ID) id!: string;
  @Field(() => String) sku!: string;
  @Directive('@shareable') // orders shows it from a copy
  @Field(() => String)
  name!: string;
  @Field(() => String) category!: string;
  @Field(() => String) subCategory!: string;
  @Field(() => Money) price!: Money;
  @Field(() => JSONValue) attributes!: Record<string, unknown>;
  @Field(() => ProductStatus) status!: ProductStatus;
  @Field(() => DateTime) createdAt!: Date;
  @Field(() => DateTime) updatedAt!: Date;
  @Field(() => Int, { description: 'Increases by one with every change, except changes of the stock.' })
  version!: number;
}

export const ProductConnection = connectionOf(() => Product, 'Product');

@ObjectType({ simpleResolvers: true })
export class Category {
  @Field(() => String) name!: string;
  @Field(() => [String]) subCategories!: string[];
  @Field(() => Int) productCount!: number;
}

@InputType()
export class ProductFilter {
  @Field(() => String, { nullable: true }) category?: string | null;
  @Field(() => String, { nullable: true }) subCategory?: string | null;
  @Field(() => ProductStatus, { nullable: true }) status?: ProductStatus | null;
  @Field(() => Decimal, { nullable: true }) minPrice?: string | null;
  @Field(() => Decimal, { nullable: true }) maxPrice?: string | null;
  @Field(() => Boolean, { nullable: true }) inStock?: boolean | null;
  @Field(() => String, {
    nullable: true,
    description:
      'Full-text search in name, category and SKU: words, "a phrase", -without, this or that. At most 200 characters and 20 words; a text without a word does not filter.',
  })
  text?: string | null;
}

@InputType()
export class CreateProductInput {
  @Field(() => String) sku!: string;
  @Field(() => String) name!: string;
  @Field(() => String) category!: string;
  @Field(() => String) subCategory!: string;
  @Field(() => Decimal) price!: string;
  @Field(() => JSONValue, { nullable: true }) attributes?: unknown;
  @Field(() => Int, { nullable: true, defaultValue: 0 }) onHand?: number | null;
}

@InputType()
export class UpdateProductInput {
  @Field(() => String, { nullable: true }) name?: string | null;
  @Field(() => String, { nullable: true }) category?: string | null;
  @Field(() => String, { nullable: true }) subCategory?: string | null;
  @Field(() => JSONValue, { nullable: true }) attributes?: unknown;
  @Field(() => Int, { nullable: true, description: 'Refuses the change when the product is at another version.' })
  expectedVersion?: number | null;
}

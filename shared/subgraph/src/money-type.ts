import 'reflect-metadata';
import { Decimal } from '@tributary/server';
import { Directive, Field, ObjectType } from 'type-graphql';
import type { MoneyAmount } from './money.js';

@Directive('@shareable')
@ObjectType({ simpleResolvers: true, description: 'An exact amount in a currency.' })
export class Money implements MoneyAmount {
  @Field(() => Decimal) amount!: string;
  @Field(() => String, { description: 'ISO 4217' }) currency!: string;
}

import { DateTime } from '@tributary/server';
import { connectionOf, Money } from '@tributary/subgraph';
import { Directive, Field, ID, InputType, Int, ObjectType, registerEnumType } from 'type-graphql';

export enum UserStatus {
  ACTIVE = 'ACTIVE',
  SUSPENDED = 'SUSPENDED',
  DELETED = 'DELETED',
}
registerEnumType(UserStatus, { name: 'UserStatus' });

@ObjectType({ simpleResolvers: true })
export class Address {
  @Field(() => String, { nullable: true }) line!: string | null;
  @Field(() => String) city!: string;
  @Field(() => String, { nullable: true }) state!: string | null;
  @Field(() => String, { nullable: true }) postalCode!: string | null;
  @Field(() => String) country!: string;
  @Field(() => String, { nullable: true }) region!: string | null;
}

@ObjectType({ simpleResolvers: true, description: 'A credit to an account, or a debit from it.' })
export class AccountEntry {
  @Field(() => ID) id!: string;
  @Field(() => Money, { description: 'Above zero when money came in.' }) amount!: Money;
  @Field(() => String) reason!: string;
  @Field(() => ID, { nullable: true }) orderId!: string | null;
  @Field(() => DateTime) at!: Date;
}

export const AccountEntryConnection = connectionOf(() => AccountEntry, 'AccountEntry');

@ObjectType({ description: "The account that pays for a user's orders." })
export class Account {
  /** Not a field: whose account it is. */
  userId!: string;
}

@Directive('@key(fields: "id")')
@Directive('@cacheControl')
@ObjectType({ simpleResolvers: true })
export class User {
  @Field(() => ID) id!: string;
  @Directive('@shareable') // orders shows it from a copy
  @Field(() => String)
  name!: string;
  @Directive('@shareable')
  @Field(() => String)
  email!: string;
  @Field(() => UserStatus) status!: UserStatus;
  @Field(() => String, { nullable: true, description: 'Consumer, Corporate, Home Office' }) segment!: string | null;
  @Field(() => DateTime) createdAt!: Date;
  @Field(() => DateTime) updatedAt!: Date;
  @Field(() => Int, { description: 'Increases by one with every change.' }) version!: number;
}

export const UserConnection = connectionOf(() => User, 'User');

@InputType()
export class AddressInput {
  @Field(() => String, { nullable: true }) line?: string | null;
  @Field(() => String) city!: string;
  @Field(() => String, { nullable: true }) state?: string | null;
  @Field(() => String, { nullable: true }) postalCode?: string | null;
  @Field(() => String) country!: string;
  @Field(() => String, { nullable: true }) region?: string | null;
}

@InputType()
export class RegisterUserInput {
  @Field(() => String) name!: string;
  @Field(() => String) email!: string;
  @Field(() => String, { nullable: true }) segment?: string | null;
  @Field(() => AddressInput, { nullable: true }) address?: AddressInput | null;
}

@InputType()
export class UpdateUserInput {
  @Field(() => String, { nullable: true }) name?: string | null;
  @Field(() => String, { nullable: true }) email?: string | null;
  @Field(() => UserStatus, { nullable: true }) status?: UserStatus | null;
  @Field(() => Int, { nullable: true, description: 'Refuses the change when the user is at another version.' })
  expectedVersion?: number | null;
}

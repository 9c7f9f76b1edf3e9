import {
  ConsumerOperations,
  type Difference,
  type EventSubscription,
  findDifferences,
  type Gap,
  type RebuildableCopy,
  rebuildCopy,
  repairDifferences,
  type VerifiableCopy,
} from '@tributary/events';

/** A copy of another service's data that operators can compare, repair and rebuild. */
export type AdminCopy<Tables> = RebuildableCopy<Tables> & VerifiableCopy<Tables>;

/** The result of the comparison of a copy with its owner. */
export interface VerifyResult {
  /** The owner's name. */
  readonly copy: string;
  readonly differences: readonly Difference[];
  readonly repaired: number;
  /** Events that the owner deleted before they were applied here, if any. With `repair`, the service continues after them. */
  readonly gap?: Gap;
}

export interface SubgraphAdminOptions<Tables> {
  readonly name: string;
  readonly databaseUrl: string;
  readonly subscriptions: readonly EventSubscription<Tables>[];
  readonly copies: readonly AdminCopy<Tables>[];
}

/** The public side of a SubgraphAdmin, whatever the service's tables. */
export type Admin = { [Name in keyof SubgraphAdmin<unknown>]: SubgraphAdmin<unknown>[Name] };

/** What an operator does to one service's dead letters and copies, beside the running service. */
export class SubgraphAdmin<Tables> extends ConsumerOperations<Tables> {
  protected readonly copies: readonly AdminCopy<Tables>[];

  constructor({ name, databaseUrl, subscriptions, copies }: SubgraphAdminOptions<Tables>) {
    super({ consumer: name, databaseUrl, subscriptions });
    this.copies = copies;
  }

  /** The owners of its copies. */
  get copied(): readonly string[] {
    return this.copies.map(({ source }) => source);
  }

  /** What `rebuild` takes: the names of the owners of its copies. */
  get models(): readonly string[] {
    return this.copied;
  }

  /** Rebuilds a copy from its owner's event log. @returns how many events were applied; null when there is no such copy */
  async rebuild(model: string, onEvents?: (count: number) => void): Promise<number | null> {
    const copy = this.copies.find(({ source }) => source === model);
    return copy ? this.explained(rebuildCopy(this.db, this.consumer, copy, onEvents)) : null;
  }

  /**
   * Compares every copy with its owner while events flow, and repairs the differences if asked to. Where the owner has deleted events
   * that this service needs, it then continues after them: what they said is in the copy.
   *
   * @param onFailure called for a copy that could not be compared or repaired; without it, the first of them is an error
   */
  async verify(repair: boolean, onFailure?: (copy: string, error: unknown) => void): Promise<VerifyResult[]> {
    const results: VerifyResult[] = [];
    for (const copy of this.copies) {
      try {
        // Before the comparison: what comes later than its end is read from the event log.
        const gap = await this.findGap(copy.source);
        const differences = await this.explained(findDifferences(this.db, copy));
        const repaired = repair
          ? await this.explained(repairDifferences(this.db, this.consumer, copy, differences))
          : 0;
        if (repair && gap) await this.skipGap(gap);
        results.push({ copy: copy.source, differences, repaired, ...(gap && { gap }) });
      } catch (error) {
        if (!onFailure) throw error;
        onFailure(copy.source, error);
      }
    }
    return results;
  }
}

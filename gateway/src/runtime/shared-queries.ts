import { type GraphQLRequest, WrittenResult } from '@tributary/server';
import { Abandonment } from '../lib/abandonment.js';

interface UnderWay {
  readonly result: Promise<WrittenResult>;
  readonly abandonment: Abandonment;
  /** Clients that are still there. */
  waiting: number;
}

/**
 * Queries of clients that are under way: who asks the same, with the same credentials, is given the same answer. A request with a
 * staleness bound takes no part (it may still share fetches): what an answer that began earlier is made from may be as old as the
 * bound when that answer began, and so older than the bound when the request came.
 */
export class SharedQueries {
  readonly #underWay = new Map<string, UnderWay>();

  /** Something was changed: whoever asks from now on must not be given what was asked before. */
  forget(): void {
    this.#underWay.clear();
  }

  /** Runs a query, or waits for who runs it. It is abandoned when all clients that wait are gone. */
  run(
    key: string,
    request: Pick<GraphQLRequest, 'onGone'>,
    execute: (abandonment: Abandonment) => Promise<WrittenResult>,
  ): Promise<WrittenResult> {
    const query = this.#underWay.get(key) ?? this.#start(key, execute);
    query.waiting += 1;
    request.onGone(() => {
      query.waiting -= 1;
      if (query.waiting > 0) return;
      query.abandonment.happen();
      this.#end(key, query);
    });
    return query.result;
  }

  #start(key: string, execute: (abandonment: Abandonment) => Promise<WrittenResult>): UnderWay {
    const abandonment = new Abandonment();
    const query: UnderWay = {
      abandonment,
      waiting: 0,
      result: execute(abandonment).then(
        (written) => {
          this.#end(key, query);
          // For many, the bytes are made once.
          return query.waiting > 1 ? new WrittenResult(Buffer.from(written.body as string), written.executed) : written;
        },
        (error) => {
          this.#end(key, query);
          throw error;
        },
      ),
    };
    this.#underWay.set(key, query);
    return query;
  }

  #end(key: string, query: UnderWay): void {
    if (this.#underWay.get(key) === query) this.#underWay.delete(key);
  }
}

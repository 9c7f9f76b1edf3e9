import { parse, validate } from 'graphql';
import { describe, expect, test } from 'vitest';
import { Random } from '../../../test/harness/random.ts';
import type { Operation } from '../../src/operation/index.ts';
import { storableText } from '../../src/warmup/storable-text.ts';
import { CASES, IDS } from '../graphs/cases.ts';
import { buildCase } from '../graphs/federated-case.ts';
import { HARDER_CASES } from '../graphs/harder-cases.ts';
import { QueryWriter } from '../graphs/random-query.ts';

const QUERIES = 150;

describe.each([...CASES, ...HARDER_CASES])('over the graph $name', (federated) => {
  test('the stored text of an operation is the same operation', () => {
    const { apiSchema, engine } = buildCase(federated);
    const writer = new QueryWriter(apiSchema, new Random(18), IDS);
    const operationOf = (query: string): Operation => {
      const parsed = engine.operations.parseAndValidate(query, undefined);
      if ('errors' in parsed) throw parsed.errors[0];
      return parsed.operation;
    };
    let compared = 0;
    let renamed = 0;
    for (let i = 0; i < QUERIES; i++) {
      const { query } = writer.write();
      if (validate(apiSchema, parse(query)).length > 0) continue;
      const operation = operationOf(query);
      const text = storableText(operation);
      if (text === null) continue;
      expect(operationOf(text).hash, `${query}\nis stored as\n${text}`).toBe(operation.hash);
      compared += 1;
      if (operation.responseNames.size > 0) renamed += 1;
    }
    expect(compared).toBeGreaterThan(QUERIES / 5);
    expect(renamed).toBeGreaterThan(0);
  });
});

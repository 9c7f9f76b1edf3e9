// Generates docs/errors.md from the error catalogue: npm run docs writes it, npm run check fails when it is out of date.
//   node scripts/document-errors.mjs [--check]
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { ERROR_CATALOGUE } from '@tributary/server';

const PAGE = fileURLToPath(new URL('../docs/errors.md', import.meta.url));
const entries = Object.entries(ERROR_CATALOGUE);

const tableOf = (heads, rows) =>
  [heads, heads.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');

const codes = tableOf(
  ['code', 'when', 'retry', 'HTTP status'],
  entries.map(([code, { when, retry, status = '200' }]) => [`\`${code}\``, when, retry, status]),
);
const reasons = tableOf(
  ['code', 'reason', 'when'],
  entries.flatMap(([code, { reasons: each = {} }]) =>
    Object.entries(each).map(([reason, when]) => [`\`${code}\``, `\`${reason}\``, when]),
  ),
);

const page = `# Errors: codes, reasons, retries

After this page you can handle every error, and decide which to retry. Decide by \`extensions.code\` and, if there is one, \`extensions.reason\`; messages
are for people and may change. For example, a page that is too large:

\`\`\`sh
curl localhost:4000/graphql -H 'content-type: application/json' -d '{"query": "query Latest($first: Int) { orders(first: $first) { totalCount } }", "variables": {"first": 1000}}'
\`\`\`

\`\`\`json
{
  "errors": [
    {
      "message": "\\"first\\" must be between 0 and 100, got 1000.",
      "locations": [{ "line": 1, "column": 29 }],
      "path": ["orders"],
      "extensions": { "code": "BAD_USER_INPUT", "field": "first", "reason": "PAGE_SIZE", "subgraph": "orders" }
    }
  ],
  "data": null
}
\`\`\`

## What a client does with an error

1. Without the key \`data\` in the response the operation was not executed. With \`data\`, \`path\` is the field of the error, and fields without an error
   are complete. If one failure leaves several fields without data, as when a subgraph is down, \`path\` is the first, \`extensions.paths\` lists up to 20, and
   \`extensions.pathCount\` is their number.
2. Show \`message\` if a person has to change something: \`BAD_USER_INPUT\` (beside the input that \`extensions.field\` names), \`NOT_FOUND\`, \`CONFLICT\`.
3. Retry only the codes whose row below says so: after one second, then 2, 4 and so on with some randomness, five times at most. A mutation with an
   \`idempotencyKey\` is safe to send again with the same key. Before you retry another mutation, read whether it took effect.
4. Report \`INTERNAL_SERVER_ERROR\` with \`extensions.requestId\`: operators find the cause in the log with it. Report \`INVALID_SUBGRAPH_RESPONSE\` with its
   message too, which names the field and the fault: the log has every such request at \`LOG_LEVEL=debug\`, and else [samples](operations.md#failed-requests).

Every response has the header \`x-request-id\`: the client's own if it sent one (letters, digits, \`_\`, \`.\`, \`:\` and \`-\`, 128 at most), else a new one. The gateway and
the services log it as \`reqId\`. If requests share a fetch, an error names the request that was logged, which may be another client's.

## Codes

The HTTP statuses are those of responses of the type \`application/graphql-response+json\`. Clients that accept only \`application/json\` receive 200 for a document
or variables that GraphQL refuses, as [GraphQL over HTTP](https://graphql.github.io/graphql-over-http/draft/) specifies.

${codes}

## Reasons

${reasons}

This page is generated from \`shared/server/src/errors/error-catalogue.ts\`: \`npm run docs\`. Code with another code or reason does not compile.
`;

if (process.argv.includes('--check')) {
  if (readFileSync(PAGE, 'utf8') !== page) {
    process.stderr.write('docs/errors.md does not match the catalogue of errors: npm run docs\n');
    process.exit(1);
  }
  process.stdout.write('docs/errors.md matches the catalogue of errors.\n');
} else {
  writeFileSync(PAGE, page);
  process.stdout.write('Wrote docs/errors.md\n');
}

import { runSubgraph } from '@tributary/subgraph';
import { definition } from './index.js';

await runSubgraph(definition);

// What a request requires of everything that it reads, and whether the positions that subgraphs report meet it.
export {
  isFreshEnough,
  latest,
  minPositionsHeader,
  NO_REQUIREMENTS,
  type Observed,
  parseStaleness,
  type Requirements,
  reached,
  stricter,
} from './requirements.js';

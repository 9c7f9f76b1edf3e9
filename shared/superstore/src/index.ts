export { type HistoricalOrder, type ImportReport, readSuperstore, type Superstore } from './superstore.js';

export { readConfig, settings } from './config.js';
export { CONSUMER, feedsOf } from './feeds.js';
export { loadCatalogue } from './import.js';
export { createProductsSchema, createProductsService, definition, setUpProducts } from './service.js';
export { migrations } from './storage/migrations.js';

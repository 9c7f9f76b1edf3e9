export { readConfig, settings } from './config.js';
export { CONSUMER, feedsOf } from './feeds.js';
export { loadCustomers } from './import.js';
export { createUsersSchema, createUsersService, definition, setUpUsers } from './service.js';
export { migrations } from './storage/migrations.js';

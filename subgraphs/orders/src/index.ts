export { readConfig, settings } from './config.js';
export { OrdersOperations } from './operations.js';
export { OrderEventStore } from './order/event-store.js';
export { createOrdersSchema, createOrdersService, definition, setUpOrders } from './service.js';

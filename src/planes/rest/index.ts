/** The REST plane's entry. The CLI imports the route rows from routes/table.js directly, without the server. */
export { toOpenApi } from './openapi.js';
export type { IdempotencyPort, Readiness, ReadinessCheck, RestLimits, RestOptions, RestTls } from './ports.js';
export { toReferenceMarkdown } from './reference.js';
export type { Route } from './routes/route.js';
export { ROUTES } from './routes/table.js';
export { makeRestServer } from './server.js';

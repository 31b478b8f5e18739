/** The KMIP plane. */
export { type KmipServer, type KmipServerOptions, makeKmipServer } from './server.js';

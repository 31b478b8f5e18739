/** The guard: the one way to the key service, whichever plane a call came from. */
export { makeGuard } from './guard.js';

/** The audit engine: durable, chained, signed. The composition root and the command line import it from here. */
export { canonicalJson } from './canonical.js';
export { auditHealth, makeAuditHandlers } from './handlers.js';
export { makeJournal, type RunningJournal } from './journal.js';
export { makeSequencer } from './sequencer.js';
export { verifyExport } from './verify-export.js';

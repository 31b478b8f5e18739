/** The audit engine: durable, chained, signed. The composition root and the command line import it from here. */

export type { CheckpointSignature, SignCheckpoint } from './checkpoint.js';
export { type AuditHandlerParts, type AuditHandlers, auditHealth, makeAuditHandlers } from './handlers.js';
export { type JournalHealth, type JournalOptions, makeJournal, type RunningJournal } from './journal.js';
export { AUDIT_DETAIL_NAMES } from './redaction.js';
export { makeSequencer, type Sequencer, type SequencerHealth, type SequencerOptions } from './sequencer.js';
export { type VerifyOptions, verifyExport } from './verify-export.js';
export { type VerifyStoredOptions, verifyStored } from './verify-stored.js';

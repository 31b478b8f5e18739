export type { BackupProgress, BackupReport } from './backup.js';
export { type EmbeddedPostgres, startEmbeddedPostgres } from './embedded/start-embedded-postgres.js';
export type { StorageLog } from './log.js';
export { openStorage, type StorageOptions } from './open-storage.js';
export type * from './ports.js';

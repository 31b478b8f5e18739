export { BackupError, type BackupProgress, type BackupReport, createBackup, restoreBackup, verifyBackup } from './backup.js';
export { type EmbeddedPostgres, startEmbeddedPostgres } from './embedded/start-embedded-postgres.js';
export type { StorageLog } from './log.js';
export { MigrationError, migrate } from './migrate.js';
export { openStorage, type StorageOptions } from './open-storage.js';
export type * from './ports.js';

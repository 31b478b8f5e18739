/** The composition root's entry, loaded by the commands that need it. */
export { restoreBackupFile, verifyBackupFile } from './backup.js';
export { ConfigError, loadConfig } from './config/load.js';
export { ConfigSchema } from './config/schema.js';
export { CONFIG_TEMPLATE } from './config/template.js';
export { diagnose } from './doctor.js';
export { endDoor } from './pkcs11-door.js';
export { recoverAdminToken } from './recover.js';
export { initialise, serve } from './serve.js';
export { StartError } from './start-error.js';

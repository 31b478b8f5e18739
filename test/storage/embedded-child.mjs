// A server process as small as can be, for tests that kill it: starts the embedded PostgreSQL and says its process id.
import { readFileSync } from 'node:fs';
import { startEmbeddedPostgres } from '../../dist/storage/embedded/start-embedded-postgres.js';

const log = { debug() {}, info() {}, warn() {}, error() {} };
const embedded = await startEmbeddedPostgres({ dataDir: process.argv[2], log });
const uid = Number(/^Uid:\s+(\d+)/m.exec(readFileSync(`/proc/${embedded.pid}/status`, 'utf8'))?.[1]);
process.once('SIGTERM', async () => {
  await embedded.stop();
  process.exit(0);
});
process.stdout.write(`${JSON.stringify({ pid: embedded.pid, uid })}\n`);
setInterval(() => undefined, 1000);

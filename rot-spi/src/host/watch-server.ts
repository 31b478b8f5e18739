import { workerData } from 'node:worker_threads';

/** A thread of the host: ends the whole process soon after the server that started it is gone. */
const LOOK_EVERY_MS = 500;
/** The host's own way out (closing the root, logging out of the token) comes first. */
const PATIENCE_MS = 1500;

const { serverPid } = workerData as { readonly serverPid: number };

setInterval(() => {
  // A process whose parent died gets another one.
  if (process.ppid !== serverPid) setTimeout(() => process.kill(process.pid, 'SIGKILL'), PATIENCE_MS);
}, LOOK_EVERY_MS);

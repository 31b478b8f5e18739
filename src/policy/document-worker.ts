import { parentPort, workerData } from 'node:worker_threads';
import { parsePolicy } from './document.js';

// Entry of the thread that parse-document.ts starts for one large source.
parentPort?.postMessage(parsePolicy(String((workerData as { source: unknown }).source)));

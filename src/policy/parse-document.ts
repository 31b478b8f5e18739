import { Worker } from 'node:worker_threads';
import { type ParsedDocument, parsePolicy } from './document.js';

/**
 * Sources up to this size are parsed in place (some ms); larger ones in a thread of their own with a time limit, because a
 * hostile megabyte of YAML takes seconds and the server's thread must not.
 */
const INLINE_BYTES = 32 * 1024;
const TIME_LIMIT_MS = 15_000;
const WORKER_HEAP_MB = 384;

const refused = (reason: string): ParsedDocument => ({ statements: [], problems: [{ line: 1, path: '', reason }] });

/** Built code only: Node can't start a worker from TypeScript source, so tests and `dev` parse in place. */
const workerUrl = import.meta.url.endsWith('.js') ? new URL('./document-worker.js', import.meta.url) : undefined;

const inWorker = (url: URL, source: string): Promise<ParsedDocument> =>
  new Promise((resolve) => {
    const worker = new Worker(url, {
      workerData: { source },
      resourceLimits: { maxOldGenerationSizeMb: WORKER_HEAP_MB },
      env: {},
      argv: [],
      execArgv: [],
    });
    const finish = (document: ParsedDocument): void => {
      clearTimeout(timer);
      resolve(document);
      void worker.terminate();
    };
    const timer = setTimeout(
      () => finish(refused(`the document took longer than ${TIME_LIMIT_MS / 1000} s to read; simplify it`)),
      TIME_LIMIT_MS,
    );
    worker.once('message', (document: ParsedDocument) => finish(document));
    worker.once('error', () => finish(refused('the document cannot be read: it needs too much memory')));
    worker.once('exit', () => finish(refused('the document cannot be read')));
    worker.unref();
  });

/** One thread at a time, however many callers. */
let queue: Promise<unknown> = Promise.resolve();

export const parseDocumentText = (source: string): Promise<ParsedDocument> => {
  if (workerUrl === undefined || source.length <= INLINE_BYTES || source.length > 1024 * 1024) return Promise.resolve(parsePolicy(source));
  const url = workerUrl;
  const parsed = queue.then(() => inWorker(url, source));
  queue = parsed;
  return parsed;
};

import { Worker } from 'node:worker_threads';
import { MAX_DOCUMENT_BYTES, type ParsedDocument, parsePolicy } from './document.js';

/**
 * Sources up to this size are parsed in place (some ms); larger ones in a thread of their own, because a hostile megabyte
 * of YAML takes seconds and the server's thread must not.
 */
const INLINE_BYTES = 32 * 1024;
const WORKER_HEAP_MB = 384;
/** For documents that a caller wants checked. Those already stored get whatever time they take: they were good once. */
export const CHECK_TIME_LIMIT_MS = 15_000;

const refused = (reason: string): ParsedDocument => ({ statements: [], problems: [{ line: 1, path: '', reason }] });

/** Built code only: Node can't start a worker from TypeScript source, so tests and `dev` parse in place. */
const workerUrl = import.meta.url.endsWith('.js') ? new URL('./document-worker.js', import.meta.url) : undefined;

/** Undefined when the thread failed rather than answered. */
const inWorker = (url: URL, source: string, limitMs: number | undefined): Promise<ParsedDocument | undefined> =>
  new Promise((resolve) => {
    const worker = new Worker(url, {
      workerData: { source },
      resourceLimits: { maxOldGenerationSizeMb: WORKER_HEAP_MB },
      env: {},
      argv: [],
      execArgv: [],
    });
    let timer: NodeJS.Timeout | undefined;
    const finish = (document: ParsedDocument | undefined): void => {
      clearTimeout(timer);
      resolve(document);
      void worker.terminate();
    };
    if (limitMs !== undefined)
      timer = setTimeout(() => finish(refused(`the document took longer than ${limitMs / 1000} s to read; simplify it`)), limitMs);
    worker.once('message', (document: ParsedDocument) => finish(document));
    worker.once('error', () => finish(undefined));
    worker.once('exit', () => finish(undefined));
  });

/** One thread at a time, however many callers. */
let queue: Promise<unknown> = Promise.resolve();

const parseLarge = async (url: URL, source: string, limitMs: number | undefined): Promise<ParsedDocument> => {
  const parsed = await inWorker(url, source, limitMs);
  if (parsed !== undefined) return parsed;
  // A stored document must not turn unreadable because a thread could not be had.
  return limitMs === undefined ? parsePolicy(source) : refused('the document cannot be read: it needs too much memory');
};

/** Statements of a source, or its problems. With `limitMs`, longer work than that is a problem of the document. */
export const parseDocumentText = (source: string, limitMs?: number): Promise<ParsedDocument> => {
  if (workerUrl === undefined || source.length <= INLINE_BYTES || source.length > MAX_DOCUMENT_BYTES)
    return Promise.resolve(parsePolicy(source));
  const url = workerUrl;
  const parsed = queue.then(() => parseLarge(url, source, limitMs));
  queue = parsed.catch(() => {});
  return parsed;
};

import { type FaultError, fail, type PolicyProblem } from '../domain/index.js';
import { MAX_DOCUMENT_BYTES } from './document.js';

const PROBLEMS_IN_MESSAGE = 10;

/** The text of a document as a caller sent it, within bounds. */
export const requireSource = (source: unknown): string => {
  if (typeof source !== 'string') throw fail('invalid-field', '`source` must be the text of a document.', { field: 'source' });
  if (Buffer.byteLength(source) > MAX_DOCUMENT_BYTES)
    throw fail('payload-too-large', `A policy document has at most ${MAX_DOCUMENT_BYTES} bytes.`, { field: 'source', next: 'Split it.' });
  // PostgreSQL's text can't hold it.
  if (source.includes('\u0000')) throw fail('invalid-field', 'The document holds U+0000.', { field: 'source' });
  return source;
};

const problemText = (problems: readonly PolicyProblem[]): string => {
  const shown = problems.slice(0, PROBLEMS_IN_MESSAGE).map((p) => `line ${p.line}${p.path === '' ? '' : ` (${p.path})`}: ${p.reason}`);
  const more = problems.length - shown.length;
  return `The document is not valid. ${shown.join('; ')}${more > 0 ? `; and ${more} more` : ''}.`;
};
export const invalidDocument = (problems: readonly PolicyProblem[]): FaultError =>
  fail('invalid-field', problemText(problems), { field: 'source', next: 'Mend it; `aegis policy validate` lists every problem.' });

import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { PROJECTIONS } from '../planes/projections.js';
import { CliError, EXIT } from './command.js';
import type { Session } from './session.js';

/** Answers are read into memory up to this size; exports are streamed. */
const MAX_ANSWER_BYTES = 64 * 1024 * 1024;
const CONNECT_TIMEOUT_MS = 10_000;

export interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly body: unknown;
}

interface Problem {
  readonly code?: string;
  readonly title?: string;
  readonly detail?: string;
  readonly field?: string;
  readonly next?: string;
  readonly instance?: string;
}

/** Turns a problem document (RFC 9457) into the message a person reads. */
function toCliError(status: number, body: unknown): CliError {
  const problem: Problem = typeof body === 'object' && body !== null ? (body as Problem) : {};
  const projection =
    problem.code !== undefined && problem.code in PROJECTIONS ? PROJECTIONS[problem.code as keyof typeof PROJECTIONS] : undefined;
  const text = [problem.title ?? `the service answered ${status}`, problem.detail].filter((t) => t !== undefined).join(': ');
  const field = problem.field === undefined ? '' : ` (field ${problem.field})`;
  const request = problem.instance === undefined ? '' : ` [request ${problem.instance}]`;
  return new CliError(`${text}${field}${request}`, projection?.exit ?? EXIT.failure, problem.next);
}

function unreachable(session: Session, error: NodeJS.ErrnoException): CliError {
  const reason = error.code === 'ECONNREFUSED' ? 'nothing listens there' : error.message;
  return new CliError(
    `the service at ${session.url} cannot be reached: ${reason}`,
    EXIT.unavailable,
    'Is it running? Start it with `npm start` or `aegis up`, or choose another with --url.',
  );
}

function send(
  session: Session,
  method: string,
  path: string,
  headers: Record<string, string>,
  body: Buffer | undefined,
): Promise<IncomingMessage> {
  let target: URL;
  try {
    target = new URL(session.url + path);
  } catch {
    throw new CliError(`“${session.url}” is not a URL`, EXIT.usage, 'Use --url http://HOST:PORT or https://HOST:PORT.');
  }
  const options = {
    method,
    timeout: CONNECT_TIMEOUT_MS * 6,
    headers: {
      accept: 'application/json',
      'user-agent': 'aegis-cli',
      ...(session.token === undefined ? {} : { authorization: `Bearer ${session.token}` }),
      ...headers,
      ...(body === undefined ? {} : { 'content-length': String(body.length) }),
    },
    ...(session.ca === undefined ? {} : { ca: session.ca }),
  };
  return new Promise((resolve, reject) => {
    const outgoing = target.protocol === 'https:' ? httpsRequest(target, options, resolve) : httpRequest(target, options, resolve);
    outgoing.on('timeout', () => outgoing.destroy(Object.assign(new Error('no answer in time'), { code: 'ETIMEDOUT' })));
    outgoing.on('error', (error) => reject(unreachable(session, error)));
    outgoing.end(body);
  });
}

async function readAll(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of stream) {
    size += part.byteLength;
    if (size > MAX_ANSWER_BYTES) throw new CliError('the answer of the service is too large', EXIT.failure);
    parts.push(part);
  }
  return Buffer.concat(parts, size);
}

const parseBody = (response: IncomingMessage, bytes: Buffer): unknown => {
  if (bytes.length === 0) return undefined;
  const type = response.headers['content-type'] ?? '';
  if (!/[/+]json\b/.test(type)) return bytes;
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch {
    throw new CliError(`the answer of the service is not valid JSON`, EXIT.failure, 'Is this the address of an Aegis service?');
  }
};

/** One JSON call. Throws CliError with the problem's text for any answer but success. */
export async function callApi(
  session: Session,
  method: string,
  path: string,
  options: { body?: unknown; headers?: Record<string, string>; accept?: string } = {},
): Promise<Answer> {
  const body = options.body === undefined ? undefined : Buffer.from(JSON.stringify(options.body), 'utf8');
  const headers = {
    ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    ...(options.accept === undefined ? {} : { accept: options.accept }),
    ...options.headers,
  };
  const response = await send(session, method, path, headers, body);
  const status = response.statusCode ?? 0;
  const parsed = parseBody(response, await readAll(response));
  if (status < 200 || status > 299) throw toCliError(status, parsed);
  return { status, headers: response.headers, body: parsed };
}

/** One call whose answer is streamed (exports, backups). */
export async function streamApi(session: Session, method: string, path: string, body?: unknown): Promise<AsyncIterable<Uint8Array>> {
  const bytes = body === undefined ? undefined : Buffer.from(JSON.stringify(body), 'utf8');
  const response = await send(
    session,
    method,
    path,
    { accept: '*/*', ...(bytes === undefined ? {} : { 'content-type': 'application/json' }) },
    bytes,
  );
  const status = response.statusCode ?? 0;
  if (status < 200 || status > 299) throw toCliError(status, parseBody(response, await readAll(response)));
  return response;
}

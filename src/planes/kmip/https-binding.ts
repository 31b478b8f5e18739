import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http';
import type { TLSSocket } from 'node:tls';
import type { ConnectionIdentity } from './client-identity.js';
import type { Exchange, KmipSession } from './exchange.js';
import type { KmipLimits } from './limits.js';
import type { Encoding } from './wire.js';

// HTTPS transport (KMIP Additional Message Encodings 1.0 §5): POST /kmip, the content type says the encoding.

const PATH = '/kmip';
const ENCODINGS: ReadonlyMap<string, Encoding> = new Map([
  ['application/octet-stream', 'ttlv'],
  ['text/xml', 'xml'],
  ['application/xml', 'xml'],
  ['application/json', 'json'],
]);
const TYPES: Readonly<Record<Encoding, string>> = {
  ttlv: 'application/octet-stream',
  xml: 'text/xml; charset=utf-8',
  json: 'application/json; charset=utf-8',
};

export interface HttpsBindingParts {
  readonly exchange: Exchange;
  readonly limits: KmipLimits;
  readonly nextRequestId: () => string;
  readonly identityOf: (socket: TLSSocket) => ConnectionIdentity | undefined;
  readonly onProblem: (where: string, error: unknown) => void;
}

/** Text is longer than the TTLV it stands for: two hex digits a byte, and names. */
const TEXT_FACTOR = 4;

export function makeHttpsBinding(parts: HttpsBindingParts): (request: IncomingMessage, response: ServerResponse) => void {
  const sessions = new WeakMap<TLSSocket, KmipSession>();
  const sessionOf = (socket: TLSSocket): KmipSession | undefined => {
    const known = sessions.get(socket);
    if (known !== undefined) return known;
    const identity = parts.identityOf(socket);
    if (identity === undefined) return undefined;
    const session: KmipSession = {
      role: 'client',
      exchangesRoles: false,
      memory: new Map(),
      source: socket.remoteAddress ?? 'local',
      credential: () => identity.credential(),
      nextRequestId: parts.nextRequestId,
    };
    sessions.set(socket, session);
    return session;
  };

  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const session = sessionOf(request.socket as TLSSocket);
    if (session === undefined) return void request.socket.destroy();
    const refusal = refusalOf(request, parts.limits);
    if (refusal !== undefined) return refuse(request, response, ...refusal);
    const encoding = encodingOf(request) as Encoding;
    const body = await readBody(request, bodyLimit(encoding, parts.limits));
    if (body === undefined) return refuse(request, response, 413);
    const gone = new AbortController();
    response.once('close', () => gone.abort());
    const signal = AbortSignal.any([AbortSignal.timeout(parts.limits.requestTimeoutMs), gone.signal]);
    const answer = await parts.exchange(body, encoding, session, signal);
    body.fill(0);
    if (answer === undefined) return refuse(request, response, 400);
    response.once('finish', () => answer.fill(0));
    response.writeHead(200, { 'content-type': TYPES[encoding], 'content-length': answer.length, 'cache-control': 'no-store' }).end(answer);
  };
  return (request, response) => {
    handle(request, response).catch((error: unknown) => {
      if (!request.destroyed || !response.destroyed) parts.onProblem('https', error);
      request.socket.destroy();
    });
  };
}

const encodingOf = (request: IncomingMessage): Encoding | undefined =>
  ENCODINGS.get((request.headers['content-type'] ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? '');
const bodyLimit = (encoding: Encoding, limits: KmipLimits): number => limits.messageBytes * (encoding === 'ttlv' ? 1 : TEXT_FACTOR);

function refusalOf(request: IncomingMessage, limits: KmipLimits): [status: number, headers?: Record<string, string>] | undefined {
  if ((request.url ?? '').split('?', 1)[0] !== PATH) return [404];
  if (request.method !== 'POST') return [405, { allow: 'POST' }];
  const encoding = encodingOf(request);
  if (encoding === undefined || request.headers['content-encoding'] !== undefined)
    return [415, { accept: [...ENCODINGS.keys()].join(', ') }];
  if (Number(request.headers['content-length'] ?? 0) > bodyLimit(encoding, limits)) return [413];
  return undefined;
}

/** What is not read of the body would be taken for the next request: the connection ends. */
function refuse(request: IncomingMessage, response: ServerResponse, status: number, headers: Record<string, string> = {}): void {
  const text = `${STATUS_CODES[status] ?? status}\n`;
  const rest = request.complete ? {} : { connection: 'close' };
  response.writeHead(status, { ...headers, ...rest, 'content-type': 'text/plain', 'content-length': Buffer.byteLength(text) }).end(text);
}

/** The body, or undefined when it is larger than allowed. */
async function readBody(request: IncomingMessage, limitBytes: number): Promise<Uint8Array | undefined> {
  const chunks: Buffer[] = [];
  let total = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    total += chunk.length;
    if (total > limitBytes) return undefined;
    chunks.push(chunk);
  }
  const [only] = chunks;
  if (chunks.length === 1 && only !== undefined) return only;
  const whole = Buffer.concat(chunks);
  for (const chunk of chunks) chunk.fill(0);
  return whole;
}

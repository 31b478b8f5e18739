import { readFileSync } from 'node:fs';
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { RootFault } from '../fault.js';
import { Retryable } from './retry.js';

export interface JsonClientOptions {
  /** Base address, `https://…`; plain http only to this machine. */
  readonly address: string;
  /** PEM bundle of the authorities to trust instead of the system's. */
  readonly caFile?: string;
  readonly timeoutMs: number;
  readonly connections: number;
}

export interface JsonAnswer {
  readonly status: number;
  readonly body: unknown;
  readonly retryAfterMs?: number;
}

export interface JsonClient {
  /** One attempt. Throws Retryable around `unavailable` when no whole answer came. Redirects are not followed. */
  send(method: 'GET' | 'POST' | 'DELETE', path: string, headers: Readonly<Record<string, string>>, body?: unknown): Promise<JsonAnswer>;
  close(): void;
}

/** Largest answer read, bytes: a wrapped 32 MiB ciphertext in base64 with room. */
const MAX_ANSWER_BYTES = 48 * 1024 * 1024;
const LOOPBACK = new Set(['localhost', '127.0.0.1', '::1', '[::1]']);

const parseAddress = (address: string): URL => {
  let url: URL;
  try {
    url = new URL(address);
  } catch {
    throw new RootFault('sealed', `${address} is not an address`, 'Write the address of the provider as https://host:port.');
  }
  if (url.username !== '' || url.password !== '')
    throw new RootFault('sealed', 'the address holds a password', 'Give credentials as a secret source.');
  if (url.protocol === 'https:') return url;
  if (url.protocol === 'http:' && LOOPBACK.has(url.hostname)) return url;
  throw new RootFault('sealed', `${url.protocol}//${url.host} is not encrypted`, 'Use https; plain http is accepted on loopback only.');
};

const readCa = (path: string): Buffer => {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new RootFault('sealed', `cannot read ${path} (${(error as NodeJS.ErrnoException).code})`, 'Correct the path of the CA bundle.');
  }
};

const unreachable = (host: string, why: string): Retryable =>
  new Retryable(new RootFault('unavailable', `${host} could not be asked: ${why}`, 'Check that it runs and that this machine reaches it.'));

const readBody = async (response: IncomingMessage): Promise<Buffer> => {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_ANSWER_BYTES) throw new RootFault('limit-exceeded', 'the provider answered with too many bytes');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
};

const parseRetryAfter = (value: string | undefined): number | undefined => {
  const seconds = Number(value);
  return value === undefined || !Number.isFinite(seconds) || seconds < 0 ? undefined : seconds * 1_000;
};

const parseJson = (bytes: Buffer): unknown => {
  try {
    return bytes.length === 0 ? undefined : JSON.parse(bytes.toString('utf8'));
  } catch {
    return undefined;
  } finally {
    bytes.fill(0);
  }
};

/** JSON over HTTP with kept-alive connections. What is sent and received is never logged or put into a message. */
export const makeJsonClient = (options: JsonClientOptions): JsonClient => {
  const base = parseAddress(options.address);
  const secure = base.protocol === 'https:';
  const agentOptions = { keepAlive: true, maxSockets: options.connections, maxFreeSockets: options.connections };
  const agent = secure
    ? new HttpsAgent({ ...agentOptions, minVersion: 'TLSv1.2', ...(options.caFile === undefined ? {} : { ca: readCa(options.caFile) }) })
    : new HttpAgent(agentOptions);
  const send: JsonClient['send'] = (method, path, headers, body) =>
    new Promise<JsonAnswer>((resolve, reject) => {
      const payload = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
      const url = new URL(`${base.pathname.replace(/\/$/, '')}${path}`, base);
      const request = (secure ? httpsRequest : httpRequest)(url, {
        method,
        agent,
        headers: {
          ...headers,
          accept: 'application/json',
          ...(payload === undefined ? {} : { 'content-type': 'application/json', 'content-length': payload.length }),
        },
      });
      const timer = setTimeout(() => request.destroy(new Error('timed out')), options.timeoutMs);
      const settle = (act: () => void): void => {
        clearTimeout(timer);
        payload?.fill(0);
        act();
      };
      request.on('error', (error: NodeJS.ErrnoException) => settle(() => reject(unreachable(base.host, error.code ?? error.message))));
      request.on('response', (response) => {
        readBody(response).then(
          (bytes) => {
            const retryAfterMs = parseRetryAfter(response.headers['retry-after']);
            const answer = { status: response.statusCode ?? 0, body: parseJson(bytes) };
            settle(() => resolve(retryAfterMs === undefined ? answer : { ...answer, retryAfterMs }));
          },
          (error: Error) => settle(() => reject(error instanceof RootFault ? error : unreachable(base.host, 'the answer broke off'))),
        );
      });
      request.end(payload);
    });
  return { send, close: () => agent.destroy() };
};

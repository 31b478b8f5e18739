import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer, type Server, type TLSSocket } from 'node:tls';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { KmipClient, type KmipClientOptions, KmipRefusal } from '../src/client/index.js';
import {
  type Fields,
  KMIP_VERSIONS,
  liftMessage,
  lowerMessage,
  type Message,
  makeFrameReader,
  readMessage,
  readTtlv,
  writeMessage,
  writeTtlv,
} from '../src/index.js';

// A small server written with the package itself, behind real mutual TLS.

const folder = mkdtempSync(join(tmpdir(), 'kmip-client-'));
const file = (name: string): string => join(folder, name);
const openssl = (...args: string[]): void => void execFileSync('openssl', args, { stdio: 'ignore', cwd: folder });
let server: Server;
let port: number;
let chunkBytes = Number.POSITIVE_INFINITY;
let silent = false;
const seen: Message[] = [];

function makeCertificates(): void {
  openssl(
    'req',
    '-x509',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-keyout',
    'ca.key',
    '-out',
    'ca.pem',
    '-subj',
    '/CN=test CA',
    '-days',
    '2',
  );
  for (const name of ['server', 'client']) {
    openssl(
      'req',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-keyout',
      `${name}.key`,
      '-out',
      `${name}.csr`,
      '-subj',
      `/CN=${name}`,
      '-addext',
      'subjectAltName=DNS:localhost',
    );
    openssl(
      'x509',
      '-req',
      '-in',
      `${name}.csr`,
      '-CA',
      'ca.pem',
      '-CAkey',
      'ca.key',
      '-CAcreateserial',
      '-copy_extensions',
      'copy',
      '-days',
      '2',
      '-out',
      `${name}.pem`,
    );
  }
}

function answer(request: Message): Message {
  const items = request.items.map((item) => {
    const id = item.id === undefined ? {} : { id: item.id };
    const payload = item.payload as Fields;
    if (item.operation === 'Get')
      return {
        operation: 'Get',
        ...id,
        fields: { ResultStatus: 'OperationFailed', ResultReason: 'ObjectNotFound', ResultMessage: 'no such object' },
      };
    if (item.operation === 'DiscoverVersions')
      return {
        operation: 'DiscoverVersions',
        ...id,
        fields: { ResultStatus: 'Success' },
        payload: { ProtocolVersion: [{ ProtocolVersionMajor: 2, ProtocolVersionMinor: 1 }] },
      };
    return {
      operation: item.operation as string,
      ...id,
      fields: { ResultStatus: 'Success' },
      payload: { UniqueIdentifier: payload['UniqueIdentifier'] ?? 'created', ObjectType: 'SymmetricKey' },
    };
  });
  return { kind: 'response', version: request.version, header: { TimeStamp: 1_700_000_000n }, items };
}

const sockets = new Set<TLSSocket>();

function serve(socket: TLSSocket): void {
  sockets.add(socket);
  const frames = makeFrameReader();
  socket.on('error', () => undefined);
  socket.on('data', (chunk: Buffer) => {
    if (silent) return;
    for (const frame of frames.push(chunk)) {
      const request = liftMessage(readMessage(readTtlv(frame)));
      seen.push(request);
      const bytes = Buffer.from(writeTtlv(writeMessage(lowerMessage(answer(request)))));
      for (let at = 0; at < bytes.length; at += chunkBytes) socket.write(bytes.subarray(at, at + chunkBytes));
    }
  });
}

beforeAll(async () => {
  makeCertificates();
  server = createServer(
    {
      key: readFileSync(file('server.key')),
      cert: readFileSync(file('server.pem')),
      ca: readFileSync(file('ca.pem')),
      requestCert: true,
      rejectUnauthorized: true,
    },
    serve,
  );
  server.on('tlsClientError', () => undefined);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  port = (server.address() as { port: number }).port;
});
afterAll(async () => {
  for (const socket of sockets) socket.destroy();
  await new Promise((resolve) => server.close(resolve));
  rmSync(folder, { recursive: true });
});

const options = (more: Partial<KmipClientOptions> = {}): KmipClientOptions => ({
  host: 'localhost',
  port,
  tls: { ca: readFileSync(file('ca.pem')), cert: readFileSync(file('client.pem')), key: readFileSync(file('client.key')) },
  ...more,
});

test('speaks every version over mutual TLS, and a refusal carries the reason that the version has', async () => {
  for (const version of KMIP_VERSIONS) {
    const client = await KmipClient.connect(options({ version, header: { MaximumResponseSize: 8192 } }));
    const created = await client.request('Create', {
      ObjectType: 'SymmetricKey',
      Attributes: [{ name: 'CryptographicAlgorithm', value: 'AES' }],
    });
    expect(created.UniqueIdentifier).toBe('created');
    expect(seen.at(-1)).toMatchObject({
      version,
      header: { MaximumResponseSize: 8192 },
      items: [{ operation: 'Create', payload: { Attributes: [{ name: 'CryptographicAlgorithm', value: 'AES' }] } }],
    });
    const refusal = await client.request('Get', { UniqueIdentifier: 'none' }).catch((error: unknown) => error);
    expect(refusal).toBeInstanceOf(KmipRefusal);
    expect(refusal).toMatchObject({
      operation: 'Get',
      status: 'OperationFailed',
      reason: version < '2' ? 'ItemNotFound' : 'ObjectNotFound',
    });
    if (version !== '1.0') expect(await client.discoverVersions()).toEqual(['2.1']);
    await client.close();
  }
});

test('pipelined requests and batches are answered in order, however the bytes are cut', async () => {
  chunkBytes = 7;
  try {
    const client = await KmipClient.connect(options());
    const ids = Array.from({ length: 20 }, (_, i) => `key-${i}`);
    const answers = await Promise.all(ids.map((id) => client.request('Activate', { UniqueIdentifier: id })));
    expect(answers.map((one) => one.UniqueIdentifier)).toEqual(ids);
    const batch = await client.batch([
      { operation: 'Activate', payload: { UniqueIdentifier: 'a' } },
      { operation: 'Get', payload: { UniqueIdentifier: 'b' } },
    ]);
    expect(batch).toMatchObject([
      { status: 'Success', payload: { UniqueIdentifier: 'a' } },
      { status: 'OperationFailed', reason: 'ObjectNotFound' },
    ]);
    expect(seen.at(-1)?.items.map((item) => item.id)).toEqual([Uint8Array.of(0, 0), Uint8Array.of(0, 1)]);
    await client.close();
  } finally {
    chunkBytes = Number.POSITIVE_INFINITY;
  }
});

test('an unknown server and a client without certificate are refused', async () => {
  const { ca, ...without } = options().tls;
  await expect(KmipClient.connect(options({ tls: without }))).rejects.toThrow();
  const client = await KmipClient.connect(options({ tls: { ca: ca as Buffer } })).catch(() => undefined);
  // With TLS 1.3 the refusal arrives after the client's side of the handshake is done.
  await expect(client?.request('Ping', {}) ?? Promise.reject(new Error('refused at connect'))).rejects.toThrow();
});

test('a silent server fails the request in time, and every later one at once', async () => {
  silent = true;
  try {
    const client = await KmipClient.connect(options({ timeoutMs: 100 }));
    await expect(client.request('Ping', {})).rejects.toThrow('within 100 ms');
    await expect(client.request('Ping', {})).rejects.toThrow('within 100 ms');
    await client.close();
  } finally {
    silent = false;
  }
});

import { once } from 'node:events';
import { Agent, request as httpsRequest } from 'node:https';
import { type Socket, connect as tcpConnect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { type ConnectionOptions, type TLSSocket, connect as tlsConnect } from 'node:tls';
import {
  type Item,
  makeFrameReader,
  readJson,
  readMessage,
  readTtlv,
  readXml,
  writeJson,
  writeMessage,
  writeTtlv,
  writeXml,
} from '@aegis/kmip-ttlv';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type KmipTarget, startKmipTarget } from './kmip-target.js';
import { makeTestAuthority } from './test-certificates.js';

let target: KmipTarget;
beforeAll(async () => {
  target = await startKmipTarget();
}, 120_000);
afterAll(() => target?.stop());

/** A TLS connection that sends and receives bytes. */
class Raw {
  readonly socket: TLSSocket;
  readonly messages: Uint8Array[] = [];
  closed = false;
  constructor(socket: TLSSocket) {
    this.socket = socket;
    const frames = makeFrameReader();
    socket.on('data', (chunk) => this.messages.push(...frames.push(chunk).map((one) => Uint8Array.from(one))));
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.closed = true;
    });
  }
  async received(count: number, timeoutMs = 5_000): Promise<Item[]> {
    const end = Date.now() + timeoutMs;
    while (this.messages.length < count && !this.closed && Date.now() < end) await sleep(5);
    return this.messages.map((one) => readTtlv(one));
  }
  async untilClosed(timeoutMs = 5_000): Promise<boolean> {
    const end = Date.now() + timeoutMs;
    while (!this.closed && Date.now() < end) await sleep(5);
    return this.closed;
  }
}
const open = async (options: ConnectionOptions = {}, port = target.port): Promise<Raw> => {
  const socket = tlsConnect({ host: '127.0.0.1', port, servername: 'localhost', ...target.tls(), ...options });
  await once(socket, 'secureConnect');
  return new Raw(socket);
};
const queryTree = (header = {}, version: '1.4' | '2.1' = '1.4', id?: Uint8Array): Item =>
  writeMessage({
    kind: 'request',
    version,
    header,
    items: [{ operation: 'Query', payload: { QueryFunction: ['QueryObjects'] }, fields: {}, ...(id === undefined ? {} : { id }) }],
  });
const query = (header = {}, id?: Uint8Array): Buffer => Buffer.from(writeTtlv(queryTree(header, '1.4', id)));
const answer = (item: Item | undefined) => {
  if (item === undefined) throw new Error('no answer');
  const message = readMessage(item);
  const { ResultStatus, ResultReason } = message.items[0]?.fields ?? {};
  return { version: message.version, header: message.header, ResultStatus, ResultReason, items: message.items };
};

test('a client with a certificate asks and is answered, in every version that has the operation', async () => {
  for (const version of ['1.1', '1.2', '1.3', '1.4', '2.0', '2.1', '3.0'] as const) {
    const client = await target.connect('alice', version);
    expect(await client.discoverVersions()).toEqual(['3.0', '2.1', '2.0', '1.4', '1.3', '1.2', '1.1', '1.0']);
    await client.close();
  }
});

test.each(['TLSv1.2', 'TLSv1.3'] as const)(
  '%s: a session resumes with its certificate, and not once the authorities changed',
  async (version) => {
    const { server, port } = await target.serve();
    const options = { minVersion: version, maxVersion: version } as const;
    const resume = async (session: Buffer | undefined) => {
      const socket = tlsConnect({
        host: '127.0.0.1',
        port,
        servername: 'localhost',
        ...target.tls(),
        ...options,
        ...(session === undefined ? {} : { session }),
      });
      let ticket: Buffer | undefined;
      socket.on('session', (one) => {
        ticket = one;
      });
      await once(socket, 'secureConnect');
      const raw = new Raw(socket);
      socket.write(query());
      const [item] = await raw.received(1);
      const result = { reused: socket.isSessionReused(), status: item === undefined ? 'closed' : answer(item).ResultStatus, ticket };
      socket.destroy();
      return result;
    };
    const first = await resume(undefined);
    expect(first).toMatchObject({ reused: false, status: 'Success' });
    const second = await resume(first.ticket);
    expect(second).toMatchObject({ reused: true, status: 'Success' });
    const other = makeTestAuthority('Another CA');
    const certificate = target.authority.issue('localhost', { eku: 'serverAuth', san: 'DNS:localhost' });
    server.reload({ key: certificate.key, cert: certificate.cert, ca: other.cert });
    const third = await resume(second.ticket ?? first.ticket).catch(() => ({ status: 'closed' }));
    expect(third.status).toBe('closed');
  },
);

test('certificates that are foreign, without purpose or unknown get no further than they may', async () => {
  const foreign = makeTestAuthority('Foreign CA').issue('alice');
  const outcome = async (certificate: { cert: string; key: string }, port = target.port): Promise<string> => {
    try {
      const raw = await open({ cert: certificate.cert, key: certificate.key }, port);
      raw.socket.write(query());
      const [item] = await raw.received(1);
      return item === undefined ? 'closed' : String(answer(item).ResultReason ?? 'Success');
    } catch {
      return 'closed';
    }
  };
  expect(await outcome(foreign)).toBe('closed');
  const serverOnly = target.authority.issue('server-only', { eku: 'serverAuth' });
  const noUsage = target.authority.issue('no-usage', { eku: 'none' });
  expect(await outcome(serverOnly)).toBe('closed');
  // The chain holds, but nobody is bound to it: the guard refuses.
  expect(await outcome(noUsage)).toBe('AuthenticationNotSuccessful');
  const strict = await target.serve({ clientEku: 'required' });
  expect(await outcome(noUsage, strict.port)).toBe('closed');
  const lax = await target.serve({ clientEku: 'ignored' });
  expect(await outcome(serverOnly, lax.port)).toBe('AuthenticationNotSuccessful');
  expect(await outcome(foreign, lax.port)).toBe('closed');
});

test('many messages in one record, one message in many, pipelined: answered in order', async () => {
  const raw = await open();
  const sent = Array.from({ length: 40 }, (_, i) => query({}, Uint8Array.of(i)));
  raw.socket.write(Buffer.concat(sent));
  const items = await raw.received(40);
  expect(items.map((item) => answer(item).items[0]?.id?.[0])).toEqual(sent.map((_, i) => i));
  for (const byte of query()) {
    raw.socket.write(Uint8Array.of(byte));
    await sleep(0);
  }
  expect(await raw.received(41)).toHaveLength(41);
  raw.socket.destroy();
});

test('an unknown version is answered in a known one', async () => {
  const raw = await open();
  const ask = async (major: number, minor: number) => {
    const bytes = query();
    bytes.writeInt32BE(major, 8 + 8 + 8 + 8);
    bytes.writeInt32BE(minor, 8 + 8 + 8 + 8 + 16);
    raw.messages.length = 0;
    raw.socket.write(bytes);
    return answer((await raw.received(1))[0]);
  };
  expect(await ask(1, 7)).toMatchObject({ version: '1.4', ResultReason: 'InvalidMessage' });
  expect(await ask(2, 9)).toMatchObject({ version: '2.1', ResultReason: 'UnsupportedProtocolVersion' });
  expect(await ask(99, 0)).toMatchObject({ version: '3.0', ResultReason: 'UnsupportedProtocolVersion' });
  expect(await ask(0, 9)).toMatchObject({ version: '1.0', ResultReason: 'InvalidMessage' });
  raw.socket.destroy();
});

test('malformed TTLV with a readable header is answered Invalid Message and the connection goes on', async () => {
  const raw = await open();
  const bytes = query();
  // The type of the batch item is none.
  const at = bytes.indexOf(Buffer.from('42000f01', 'hex'));
  bytes[at + 3] = 0x77;
  raw.socket.write(bytes);
  expect(answer((await raw.received(1))[0])).toMatchObject({
    version: '1.4',
    ResultStatus: 'OperationFailed',
    ResultReason: 'InvalidMessage',
  });
  raw.socket.write(query());
  expect(answer((await raw.received(2))[1])).toMatchObject({ ResultStatus: 'Success' });
  raw.socket.destroy();
});

test('length bombs and what is no TTLV at all end the connection without memory', async () => {
  const before = process.memoryUsage().arrayBuffers;
  for (const hex of [
    '4200780100000000ffffffff',
    '42007801fffffff8',
    '474554202f20485454502f312e310d0a',
    '4200780200000004000000ff00000000',
  ]) {
    const raw = await open();
    raw.socket.write(Buffer.from(hex, 'hex'));
    expect(await raw.untilClosed()).toBe(true);
  }
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(16 * 1024 * 1024);
});

test('the header is checked: Batch Count, Maximum Response Size, message extensions', async () => {
  const raw = await open();
  const wrongCount = query();
  const at = wrongCount.indexOf(Buffer.from('42000d02', 'hex'));
  wrongCount.writeInt32BE(2, at + 8);
  raw.socket.write(wrongCount);
  raw.socket.write(query({ MaximumResponseSize: 100 }));
  const extension = (critical: boolean): Buffer =>
    Buffer.from(
      writeTtlv(
        writeMessage({
          kind: 'request',
          version: '2.1',
          header: {},
          items: [
            {
              operation: 'Query',
              payload: { QueryFunction: ['QueryObjects'] },
              fields: { MessageExtension: [{ VendorIdentification: 'x', CriticalityIndicator: critical, VendorExtension: {} }] },
            },
          ],
        }),
      ),
    );
  raw.socket.write(extension(true));
  raw.socket.write(extension(false));
  const items = await raw.received(4);
  expect(items.map((item) => answer(item).ResultReason ?? answer(item).ResultStatus)).toEqual([
    'InvalidMessage',
    'ResponseTooLarge',
    'UnknownMessageExtension',
    'Success',
  ]);
  raw.socket.destroy();
});

test('slow senders, half-open handshakes and readers that do not read are cut off; others are served meanwhile', async () => {
  const { server, port } = await target.serve({ limits: { messageTimeoutMs: 400, handshakeTimeoutMs: 600, handshakes: 5 } });
  const slow = await open({}, port);
  slow.socket.write(query().subarray(0, 20));
  const halves: Socket[] = [];
  for (let i = 0; i < 20; i += 1) {
    const socket = tcpConnect(port, '127.0.0.1');
    socket.on('error', () => undefined);
    halves.push(socket);
  }
  await sleep(150);
  expect(server.connections().handshakes).toBeLessThanOrEqual(5);
  expect(await slow.untilClosed(2_000)).toBe(true);
  await sleep(800);
  expect(server.connections().handshakes).toBe(0);
  const good = await open({}, port);
  good.socket.write(query());
  expect(await good.received(1)).toHaveLength(1);
  good.socket.destroy();
  for (const half of halves) half.destroy();
});

test('an idle connection lives on', async () => {
  const { port } = await target.serve({ limits: { messageTimeoutMs: 200, handshakeTimeoutMs: 200 } });
  const raw = await open({}, port);
  await sleep(900);
  raw.socket.write(query());
  expect(await raw.received(1)).toHaveLength(1);
  raw.socket.destroy();
});

test('close answers what runs, takes nothing more, and ends', async () => {
  const { server, port } = await target.serve();
  const raw = await open({}, port);
  const idle = await open({}, port);
  raw.socket.write(Buffer.concat([query(), query()]));
  await raw.received(1);
  await server.close(3_000);
  expect(await raw.received(2)).toHaveLength(2);
  expect(await raw.untilClosed()).toBe(true);
  expect(await idle.untilClosed()).toBe(true);
  await expect(open({}, port)).rejects.toThrow();
});

interface Response {
  readonly status: number;
  readonly headers: Record<string, unknown>;
  readonly body: Buffer;
}
const agent = new Agent({ keepAlive: true, maxSockets: 1 });
const post = (body: string | Uint8Array, headers: Record<string, string>, method = 'POST', path = '/kmip'): Promise<Response> =>
  new Promise((resolve, reject) => {
    const request = httpsRequest(
      { host: '127.0.0.1', port: target.httpsPort, method, path, agent, servername: 'localhost', headers, ...target.tls() },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) }));
      },
    );
    request.on('error', reject);
    request.end(method === 'GET' ? undefined : body);
  });

test('HTTPS: the three encodings, and the right refusals', async () => {
  const tree = queryTree({}, '2.1');
  const ttlv = await post(writeTtlv(tree), { 'content-type': 'application/octet-stream' });
  const xml = await post(writeXml(tree), { 'content-type': 'text/xml; charset=utf-8' });
  const json = await post(writeJson(tree), { 'content-type': 'application/json' });
  expect([ttlv.status, xml.status, json.status]).toEqual([200, 200, 200]);
  expect(ttlv.headers['content-type']).toContain('application/octet-stream');
  const objects = [readTtlv(ttlv.body), readXml(xml.body.toString()), readJson(json.body.toString())].map(
    (item) => answer(item).items[0]?.payload,
  );
  expect(objects[1]).toEqual(objects[0]);
  expect(objects[2]).toEqual(objects[0]);
  expect((await post('', {}, 'GET')).status).toBe(405);
  expect((await post('', {}, 'GET')).headers['allow']).toBe('POST');
  expect((await post('x', { 'content-type': 'application/json' }, 'POST', '/other')).status).toBe(404);
  expect((await post('x', { 'content-type': 'text/plain' })).status).toBe(415);
  expect((await post('{', { 'content-type': 'application/json' })).status).toBe(400);
  expect((await post(new Uint8Array(2 << 20), { 'content-type': 'application/octet-stream' }).catch(() => ({ status: 413 }))).status).toBe(
    413,
  );
  const limited = await post(writeXml(queryTree({ MaximumResponseSize: 64 }, '2.1')), { 'content-type': 'text/xml' });
  expect(answer(readXml(limited.body.toString())).ResultReason).toBe('ResponseTooLarge');
});

test('1,000 idle connections cost less than 100 MB', async () => {
  const session: { ticket?: Buffer } = {};
  const first = tlsConnect({ host: '127.0.0.1', port: target.port, servername: 'localhost', ...target.tls() });
  first.on('session', (one) => {
    session.ticket = one;
  });
  await once(first, 'secureConnect');
  await sleep(50);
  globalThis.gc?.();
  const before = process.memoryUsage().rss;
  const sockets: TLSSocket[] = [];
  for (let i = 0; i < 1_000; i += 50) {
    await Promise.all(
      Array.from({ length: 50 }, async () => {
        const socket = tlsConnect({
          host: '127.0.0.1',
          port: target.port,
          servername: 'localhost',
          ...target.tls(),
          ...(session.ticket === undefined ? {} : { session: session.ticket }),
        });
        socket.on('error', () => undefined);
        await once(socket, 'secureConnect');
        sockets.push(socket);
      }),
    );
  }
  await sleep(300);
  expect(target.server.connections().open).toBeGreaterThanOrEqual(1_000);
  globalThis.gc?.();
  // Both ends are in this process: the server's share is less than the whole.
  const grownMb = (process.memoryUsage().rss - before) / 1024 / 1024;
  expect(grownMb).toBeLessThan(200);
  for (const socket of [first, ...sockets]) socket.destroy();
}, 60_000);

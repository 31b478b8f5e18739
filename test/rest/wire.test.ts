import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import type { FastifyInstance } from 'fastify';
import { afterEach, describe, expect, it } from 'vitest';
import { makeRestServer } from '../../src/planes/rest/index.js';
import type { RestOptions } from '../../src/planes/rest/ports.js';
import { bearer, type FakeService, logLines, makeFakeService, makeObject, TOKEN, toOptions } from './fake-service.js';

/** The server on a real socket: time, size, number, and what is not HTTP. */

const running: FastifyInstance[] = [];
const sockets: Socket[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await Promise.all(running.splice(0).map((app) => app.close()));
});

async function serve(fake: FakeService, more: Partial<RestOptions> = {}): Promise<{ port: number; url: string; app: FastifyInstance }> {
  const app = makeRestServer(toOptions(fake, more));
  running.push(app);
  await app.listen({ host: '127.0.0.1', port: 0 });
  const { port } = app.server.address() as AddressInfo;
  return { port, url: `http://127.0.0.1:${port}`, app };
}

/** Sends bytes as they are and reads until the server closes. */
async function raw(port: number, text: string, options: { opened?: (socket: Socket) => void } = {}): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  sockets.push(socket);
  const chunks: Buffer[] = [];
  socket.on('data', (chunk) => chunks.push(chunk));
  socket.on('error', () => undefined);
  socket.write(text);
  options.opened?.(socket);
  await once(socket, 'close');
  return Buffer.concat(chunks).toString();
}

const AUTH = `Authorization: Bearer ${TOKEN}\r\n`;
const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

describe('a method that nobody has heard of', () => {
  it('is told from what is not HTTP', async () => {
    const request = `QUERIED /v1/keys HTTP/1.1\r\nHost: localhost\r\n${AUTH}\r\n`;
    const fake = makeFakeService();
    const { port } = await serve(fake);
    expect(await raw(port, request)).toMatch(/^HTTP\/1\.1 501 /);
    expect(fake.calls).toHaveLength(0);
  });
});

describe('what is not HTTP', () => {
  it.each([
    ['garbage', 'EHLO mail\r\n\r\n'],
    [
      'both lengths (request smuggling)',
      `POST /v1/keys HTTP/1.1\r\nHost: localhost\r\n${AUTH}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nX`,
    ],
    ['two lengths', `POST /v1/keys HTTP/1.1\r\nHost: localhost\r\n${AUTH}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!`],
    ['a length that is no number', `POST /v1/keys HTTP/1.1\r\nHost: localhost\r\n${AUTH}Content-Length: +5\r\n\r\nhello`],
    ['a folded header', `GET /v1/whoami HTTP/1.1\r\nHost: localhost\r\nX-A: b\r\n c\r\n${AUTH}\r\n`],
    ['a space before the colon', `GET /v1/whoami HTTP/1.1\r\nHost: localhost\r\nAuthorization : Bearer ${TOKEN}\r\n\r\n`],
    ['a bare line feed', `GET /v1/whoami HTTP/1.1\nHost: localhost\n${AUTH}\n`],
    ['an unknown transfer coding', `POST /v1/keys HTTP/1.1\r\nHost: localhost\r\n${AUTH}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n`],
    [
      'another request behind a body of unknown length',
      `POST /v1/keys HTTP/1.1\r\nHost: localhost\r\n${AUTH}Transfer-Encoding: gzip\r\n\r\nGET /v1/whoami HTTP/1.1\r\nHost: localhost\r\n${AUTH}\r\n`,
    ],
    ['no Host', `GET /v1/whoami HTTP/1.1\r\n${AUTH}Connection: close\r\n\r\n`],
  ])('%s: refused, and the service is not called', async (_name, text) => {
    const fake = makeFakeService();
    const { port } = await serve(fake, { limits: { headersTimeoutMs: 300, requestTimeoutMs: 400, connectionsCheckingIntervalMs: 50 } });
    const answer = await raw(port, text);
    expect(answer).toMatch(/^HTTP\/1\.1 4\d\d /);
    expect(answer.match(/HTTP\/1\.1 \d/g), answer).toHaveLength(1);
    expect(fake.calls).toHaveLength(0);
  });

  it('answers a problem document', async () => {
    const { port } = await serve(makeFakeService());
    const answer = await raw(port, 'EHLO mail\r\n\r\n');
    expect(answer).toContain('Content-Type: application/problem+json');
    expect(JSON.parse(String(answer.split('\r\n\r\n')[1]))).toMatchObject({ code: 'invalid-request', status: 400 });
  });

  it('431 for headers beyond the bound', async () => {
    const { port } = await serve(makeFakeService(), { limits: { headerBytes: 4_096 } });
    const answer = await raw(port, `GET /v1/whoami HTTP/1.1\r\nHost: localhost\r\nX-A: ${'a'.repeat(8_000)}\r\n\r\n`);
    expect(answer).toMatch(/^HTTP\/1\.1 431 /);
    expect(answer).toContain('"headers-too-large"');
  });

  it('serves pipelined requests in order', async () => {
    const fake = makeFakeService();
    fake.objects.set('k', makeObject('k'));
    const { port } = await serve(fake);
    const one = (path: string, last = false) =>
      `GET ${path} HTTP/1.1\r\nHost: localhost\r\n${AUTH}${last ? 'Connection: close\r\n' : ''}\r\n`;
    const answer = await raw(port, one('/v1/keys/k') + one('/v1/whoami') + one('/v1/keys/none', true));
    expect([...answer.matchAll(/HTTP\/1\.1 (\d+)/g)].map((m) => m[1])).toEqual(['200', '200', '404']);
  });

  it('reads a chunked body', async () => {
    const fake = makeFakeService();
    const { port } = await serve(fake);
    const body = '{"hash":"sha256",\r\n"message":"aGVsbG8="}';
    const chunks = `${(10).toString(16)}\r\n${body.slice(0, 10)}\r\n${(body.length - 10).toString(16)}\r\n${body.slice(10)}\r\n0\r\n\r\n`;
    const answer = await raw(
      port,
      `POST /v1/digest HTTP/1.1\r\nHost: localhost\r\n${AUTH}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n${chunks}`,
    );
    expect(answer).toMatch(/^HTTP\/1\.1 200 /);
  });
});

describe('slow clients', () => {
  const limits = { headersTimeoutMs: 200, requestTimeoutMs: 400, connectionsCheckingIntervalMs: 50 };

  it('a client that dribbles headers is dropped with 408', async () => {
    const { port } = await serve(makeFakeService(), { limits });
    const started = Date.now();
    const answer = await raw(port, 'GET /v1/whoami HTTP/1.1\r\nHost: loc', {
      opened: (socket) => {
        const drip = setInterval(() => socket.write('a'), 50);
        socket.on('close', () => clearInterval(drip));
      },
    });
    expect(answer).toMatch(/^HTTP\/1\.1 408 /);
    expect(answer).toContain('"request-timeout"');
    expect(Date.now() - started).toBeLessThan(3_000);
  });

  it('a client that dribbles its body is dropped, and holds no place', async () => {
    const fake = makeFakeService();
    const { port, url } = await serve(fake, { limits: { ...limits, concurrency: 1 } });
    const slow = raw(
      port,
      `POST /v1/digest HTTP/1.1\r\nHost: localhost\r\n${AUTH}Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{`,
    );
    await wait(50);
    expect((await fetch(`${url}/v1/whoami`, { headers: bearer })).status).toBe(503);
    expect(await slow).toMatch(/^(HTTP\/1\.1 408 |$)/);
    await wait(50);
    expect((await fetch(`${url}/v1/whoami`, { headers: bearer })).status).toBe(200);
    expect(fake.calls.every((c) => c.operation === 'whoami')).toBe(true);
  });
});

describe('bounds', () => {
  it('503 with Retry-After beyond the number of requests at once; health still answers; places are given back', async () => {
    const fake = makeFakeService();
    const open: (() => void)[] = [];
    fake.override('whoami', async () => {
      await new Promise<void>((resolve) => open.push(resolve));
      return { principal: (await import('./fake-service.js')).makeObject('x') as never, method: 'token' };
    });
    fake.override('audit-health', () => ({ state: 'ok', pending: 0, unsequenced: 0 }));
    const { url } = await serve(fake, { limits: { concurrency: 3 } });
    const aborts = Array.from({ length: 3 }, () => new AbortController());
    const waiting = aborts.map((abort) => fetch(`${url}/v1/whoami`, { headers: bearer, signal: abort.signal }).catch(() => undefined));
    await expect.poll(() => open.length).toBe(3);
    const refused = await fetch(`${url}/v1/audit/health`, { headers: bearer });
    expect(refused.status).toBe(503);
    expect(refused.headers.get('retry-after')).toBe('1');
    expect(await refused.json()).toMatchObject({ code: 'overloaded' });
    expect((await fetch(`${url}/health/live`)).status).toBe(200);
    for (const abort of aborts) abort.abort();
    await Promise.all(waiting);
    await expect.poll(async () => (await fetch(`${url}/v1/audit/health`, { headers: bearer })).status).toBe(200);
  });

  it('tells the service when the client has gone, and not while it waits', async () => {
    const fake = makeFakeService();
    let signal: AbortSignal | undefined;
    fake.override('sign', async (_request, caller) => {
      signal = caller.signal;
      await wait(150);
      expect(signal?.aborted).toBe(false);
      await wait(10_000);
      return expect.fail();
    });
    const { url } = await serve(fake);
    const abort = new AbortController();
    const call = fetch(`${url}/v1/keys/k/sign`, {
      method: 'POST',
      headers: { ...bearer, 'content-type': 'application/json' },
      body: '{"message":""}',
      signal: abort.signal,
    }).catch(() => undefined);
    await wait(250);
    abort.abort();
    await call;
    await expect.poll(() => signal?.aborted).toBe(true);
  });

  it('aborts an operation when its time is over and answers what the guard says', async () => {
    const fake = makeFakeService();
    fake.override(
      'whoami',
      (_request, caller) =>
        new Promise((_, reject) => {
          caller.signal?.addEventListener('abort', () => reject(new (class extends Error {})()));
        }),
    );
    const { fail } = await import('../../src/domain/index.js');
    fake.override(
      'status',
      (_request, caller) =>
        new Promise((_, reject) => {
          caller.signal?.addEventListener('abort', () => reject(fail('timeout', 'The guard gave up')));
        }),
    );
    const { url } = await serve(fake, { limits: { handlerTimeoutMs: 100 } });
    const answer = await fetch(`${url}/v1/status`, { headers: bearer });
    expect(answer.status).toBe(504);
    expect(await answer.json()).toMatchObject({ code: 'timeout', detail: 'The guard gave up' });
    expect((await fetch(`${url}/v1/whoami`, { headers: bearer })).status).toBe(500);
  });

  it('gives back the places of pipelined requests whose client went before their turn', async () => {
    const fake = makeFakeService();
    fake.override('status', () => new Promise(() => undefined));
    const { port, url } = await serve(fake, { limits: { concurrency: 4 } });
    for (let round = 0; round < 5; round++) {
      const socket = connect(port, '127.0.0.1');
      sockets.push(socket);
      const before = fake.calls.length;
      socket.write(`GET /v1/status HTTP/1.1\r\nHost: localhost\r\n${AUTH}\r\n`.repeat(4));
      await expect.poll(() => fake.calls.length - before, { timeout: 5_000 }).toBe(4);
      expect((await fetch(`${url}/v1/whoami`, { headers: bearer })).status).toBe(503);
      socket.destroy();
      await expect.poll(async () => (await fetch(`${url}/v1/whoami`, { headers: bearer })).status, { timeout: 5_000 }).toBe(200);
      for (const call of fake.calls.slice(before, before + 4)) expect(call.caller.signal?.aborted).toBe(true);
    }
  });

  it('a connection used again has a fresh deadline, and one that ran out of time is closed', async () => {
    const fake = makeFakeService();
    const { fail } = await import('../../src/domain/index.js');
    let slowMs = 120;
    fake.override('audit-health', async (_request, caller) => {
      await wait(slowMs);
      if (caller.signal?.aborted) throw fail('timeout', 'The guard gave up');
      return { state: 'ok', pending: 0, unsequenced: 0 };
    });
    const { port } = await serve(fake, { limits: { handlerTimeoutMs: 300 } });
    const socket = connect(port, '127.0.0.1');
    sockets.push(socket);
    const answers: string[] = [];
    socket.on('data', (chunk) => answers.push(chunk.toString()));
    const ask = () => socket.write(`GET /v1/audit/health HTTP/1.1\r\nHost: localhost\r\n${AUTH}\r\n`);
    for (let i = 1; i <= 5; i++) {
      ask();
      await expect.poll(() => answers.length, { timeout: 5_000 }).toBe(i);
    }
    expect(answers.every((a) => a.startsWith('HTTP/1.1 200'))).toBe(true);
    slowMs = 600;
    ask();
    await once(socket, 'close');
    expect(answers.at(-1)).toMatch(/^HTTP\/1\.1 504 /);
    expect(answers.at(-1)?.toLowerCase()).toContain('connection: close');
  });

  it('answers 504 itself when nobody reacts', async () => {
    const fake = makeFakeService();
    fake.override('status', () => new Promise(() => undefined));
    const { url } = await serve(fake, { limits: { handlerTimeoutMs: 100 } });
    const answer = await fetch(`${url}/v1/status`, { headers: bearer });
    expect(answer.status).toBe(504);
    expect((await answer.json()) as object).toMatchObject({ code: 'timeout' });
  });

  it('answers 413 without reading the rest, and closes', async () => {
    const { port } = await serve(makeFakeService(), { limits: { bodyBytes: 1_000 } });
    const answer = await raw(
      port,
      `POST /v1/digest HTTP/1.1\r\nHost: localhost\r\n${AUTH}Content-Type: application/json\r\nContent-Length: 50000000\r\n\r\n{"hash"`,
    );
    expect(answer).toMatch(/^HTTP\/1\.1 413 /);
    expect(answer.toLowerCase()).toContain('connection: close');
  });

  it('counts a chunked body too', async () => {
    const { port } = await serve(makeFakeService(), { limits: { bodyBytes: 1_000 } });
    const chunk = `400\r\n${'a'.repeat(1_024)}\r\n`;
    const answer = await raw(
      port,
      `POST /v1/digest HTTP/1.1\r\nHost: localhost\r\n${AUTH}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n${chunk}${chunk}`,
    );
    expect(answer).toMatch(/^HTTP\/1\.1 413 /);
  });
});

describe('streams', () => {
  it('waits for a client that does not read, and ends the source when it goes', async () => {
    const fake = makeFakeService();
    let produced = 0;
    let ended = false;
    fake.override('export-audit', () => ({
      chunks: (async function* () {
        try {
          for (;;) {
            produced += 1;
            yield Buffer.alloc(65_536, 'x');
          }
        } finally {
          ended = true;
        }
      })(),
    }));
    const { port } = await serve(fake);
    const socket = connect(port, '127.0.0.1');
    sockets.push(socket);
    socket.pause();
    socket.write(`GET /v1/audit/export HTTP/1.1\r\nHost: localhost\r\n${AUTH}\r\n`);
    await wait(300);
    const early = produced;
    await wait(300);
    // Kernel buffers take a few MB; then nothing more is made.
    expect(produced).toBe(early);
    expect(early * 65_536).toBeLessThan(32 * 1024 * 1024);
    socket.destroy();
    await expect.poll(() => ended).toBe(true);
  });

  it('is a problem when the source fails at once, and cut off when it fails later', async () => {
    const fake = makeFakeService();
    const { fail } = await import('../../src/domain/index.js');
    const { url } = await serve(fake);
    fake.override('export-audit', () => ({
      // biome-ignore lint/correctness/useYield: it fails before its first chunk
      chunks: (async function* () {
        throw fail('storage-unavailable', 'down');
      })(),
    }));
    expect((await fetch(`${url}/v1/audit/export`, { headers: bearer })).status).toBe(503);
    fake.override('export-audit', () => ({
      chunks: (async function* () {
        yield Buffer.from('{"a":1}\n');
        await wait(50);
        throw new Error('the-secret-of-the-stream');
      })(),
    }));
    const answer = await fetch(`${url}/v1/audit/export`, { headers: bearer });
    expect(answer.status).toBe(200);
    await expect(answer.text()).rejects.toThrow();
    expect(logLines.join()).not.toContain('the-secret-of-the-stream');
    expect((await fetch(`${url}/v1/whoami`, { headers: bearer })).status).toBe(200);
  });

  it('answers an empty source with an empty body, and is not bound by the time of an operation', async () => {
    const fake = makeFakeService();
    const { url } = await serve(fake, { limits: { handlerTimeoutMs: 100 } });
    fake.override('export-audit', () => ({ chunks: (async function* () {})() }));
    expect(await (await fetch(`${url}/v1/audit/export`, { headers: bearer })).text()).toBe('');
    fake.override('create-backup', () => ({
      name: 'a"b\r\nX: y/../c',
      chunks: (async function* () {
        for (let i = 0; i < 6; i++) {
          yield Buffer.from('part');
          await wait(50);
        }
      })(),
    }));
    const backup = await fetch(`${url}/v1/backups`, {
      method: 'POST',
      headers: { ...bearer, 'content-type': 'application/json' },
      body: '{"passphrase":"correct horse battery"}',
    });
    expect(backup.headers.get('content-disposition')).toBe('attachment; filename="a_b__X__y_.._c"');
    expect(await backup.text()).toBe('part'.repeat(6));
  });
});

describe('stopping', () => {
  it('finishes what runs, refuses what comes, then ends', async () => {
    const fake = makeFakeService();
    let finish: () => void = () => undefined;
    fake.override('audit-health', async () => {
      await new Promise<void>((resolve) => {
        finish = resolve;
      });
      return { state: 'ok', pending: 0, unsequenced: 0 };
    });
    const { port, url, app } = await serve(fake);
    // One connection with two pipelined requests: the second arrives while the first still runs.
    const running1 = fetch(`${url}/v1/audit/health`, { headers: bearer });
    await expect.poll(() => fake.calls.length).toBe(1);
    const closing = app.close();
    await wait(50);
    await expect(
      new Promise((resolve, reject) => {
        httpRequest({ port, host: '127.0.0.1', path: '/health/live' }, resolve).on('error', reject).end();
      }),
    ).rejects.toThrow();
    finish();
    expect((await running1).status).toBe(200);
    await closing;
  });
});

import { request as httpsRequest } from 'node:https';
import { connect as connectTcp, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { childOf, childrenOf, type Item, knownTag, makeFrameReader, readTtlv, writeJson, writeTtlv, writeXml } from '@aegis/kmip-ttlv';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type KmipTarget, startKmipTarget } from '../kmip/kmip-target.js';
import { requestCorpus } from './kmip-corpus.js';
import { framed, makeRandom, mutateBytes, mutateTree, pick, type Random, tryWrite } from './kmip-mutations.js';

// The plane on a live socket against input that nobody meant to send. Each input is answered well-formed or the connection is closed cleanly; nothing
// crashes, hangs, leaks or grows. A failure is run again with the printed seed: AEGIS_FUZZ_SEED=… AEGIS_FUZZ_COUNT=….

const COUNT = Number(process.env.AEGIS_FUZZ_COUNT ?? 4_000);
const SEED = Number(process.env.AEGIS_FUZZ_SEED ?? Date.now() % 0x7fffffff);
const ANSWER_MS = 20_000;
const MAX_GROWTH_BYTES = 300 << 20;
const MESSAGE_TIMEOUT_MS = 1_500;

let target: KmipTarget;
/** Errors that the plane reports as its own. There must be none, whatever comes in. */
const problems: unknown[] = [];

beforeAll(async () => {
  target = await startKmipTarget({
    server: {
      limits: { messageTimeoutMs: MESSAGE_TIMEOUT_MS, handshakeTimeoutMs: MESSAGE_TIMEOUT_MS },
      logger: { warn: () => undefined, error: (fields) => problems.push(fields) },
    },
  });
}, 120_000);
afterAll(() => target?.stop());

const TAG = {
  response: knownTag('ResponseMessage'),
  item: knownTag('BatchItem'),
  status: knownTag('ResultStatus'),
  header: knownTag('ResponseHeader'),
};

/** A response that any client can read: strict TTLV, a header, and a Result Status in every item. */
function expectWellFormed(bytes: Uint8Array): void {
  const item: Item = readTtlv(bytes);
  expect(item.tag).toBe(TAG.response);
  expect(childOf(item, TAG.header)).toBeDefined();
  const items = childrenOf(item).filter((child) => child.tag === TAG.item);
  expect(items.length).toBeGreaterThan(0);
  for (const one of items) expect(childOf(one, TAG.status)).toBeDefined();
}

/** Each place in the code once. */
const distinct = (list: readonly unknown[]): unknown[] => [...new Map(list.map((one) => [JSON.stringify(one), one])).values()];

type Outcome = { readonly answers: readonly Uint8Array[]; readonly closed: boolean };

/** One connection that counts its answers. */
class FuzzClient {
  readonly answers: Uint8Array[] = [];
  closed = false;
  readonly socket: TLSSocket;
  private wake: () => void = () => undefined;
  private constructor(socket: TLSSocket) {
    this.socket = socket;
    const frames = makeFrameReader(16 << 20);
    socket.on('data', (chunk: Buffer) => {
      this.answers.push(...frames.push(chunk).map((one) => one.slice()));
      this.wake();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.closed = true;
      this.wake();
    });
  }
  static open(): Promise<FuzzClient> {
    return new Promise((resolve, reject) => {
      const socket = connectTls({ host: target.host, port: target.port, ...target.tls(), servername: 'localhost' }, () => {
        socket.off('error', reject);
        resolve(new FuzzClient(socket));
      });
      socket.once('error', reject);
    });
  }
  /** Until `count` answers are there or the connection is closed. */
  async until(count: number): Promise<Outcome> {
    const deadline = Date.now() + ANSWER_MS;
    while (this.answers.length < count && !this.closed) {
      const left = deadline - Date.now();
      if (left <= 0) throw new Error(`neither ${count} answers nor a closed connection within ${ANSWER_MS} ms`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    return { answers: this.answers.splice(0), closed: this.closed };
  }
}

const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex').slice(0, 4_000);

/** One input: mostly trees that read well and say something odd, some bytes that do not read at all. */
function nextInput(corpus: readonly Item[], bytes: readonly Uint8Array[], random: Random): Uint8Array {
  if (random(5) === 0) return framed(mutateBytes(pick(bytes, random), pick(bytes, random), random));
  return tryWrite(mutateTree(pick(corpus, random), corpus, random)) ?? pick(bytes, random);
}

test(`${COUNT} mutated messages on live connections: an answer each, or a closed connection`, async () => {
  console.log(`fuzz seed ${SEED}`);
  const random = makeRandom(SEED);
  const corpus = requestCorpus(3);
  const bytes = corpus.map((item) => writeTtlv(item));
  const before = process.memoryUsage().rss;
  const totals = { answered: 0, closed: 0 };
  const lane = async (share: number): Promise<void> => {
    let client = await FuzzClient.open();
    for (let i = 0; i < share; ) {
      const burst = Array.from({ length: Math.min(1 + random(4), share - i) }, () => nextInput(corpus, bytes, random));
      i += burst.length;
      for (const input of burst) client.socket.write(input);
      let outcome: Outcome;
      try {
        outcome = await client.until(burst.length);
        for (const answer of outcome.answers) expectWellFormed(answer);
      } catch (error) {
        throw new Error(`seed ${SEED}, inputs ${burst.map(hexOf).join(' | ')}: ${error}`);
      }
      totals.answered += outcome.answers.length;
      if (outcome.closed) {
        totals.closed++;
        client = await FuzzClient.open();
      }
    }
    client.socket.destroy();
  };
  await Promise.all([lane(COUNT / 4), lane(COUNT / 4), lane(COUNT / 4), lane(COUNT / 4)]);
  console.log(`${COUNT} inputs: ${totals.answered} answered, ${totals.closed} connections closed`);
  expect(distinct(problems.splice(0))).toEqual([]);
  // Both must occur, or the fuzzer tests only one of them.
  expect(totals.answered).toBeGreaterThan(COUNT / 5);
  expect(totals.closed).toBeGreaterThan(0);
  expect(process.memoryUsage().rss - before).toBeLessThan(MAX_GROWTH_BYTES + COUNT * 200);
}, 3_600_000);

test('bytes that are no message at all: the connection ends', async () => {
  const random = makeRandom(SEED + 1);
  const bytes = requestCorpus(20).map((item) => writeTtlv(item));
  for (let i = 0; i < Math.max(100, COUNT / 20); i++) {
    const client = await FuzzClient.open();
    // No more comes: the server waits for the rest of a lying length no longer than the end of the stream.
    client.socket.end(mutateBytes(pick(bytes, random), pick(bytes, random), random));
    const outcome = await client.until(Number.POSITIVE_INFINITY);
    for (const answer of outcome.answers) expectWellFormed(answer);
  }
  expect(distinct(problems.splice(0))).toEqual([]);
}, 600_000);

test('mutated XML and JSON over HTTPS: an answer that reads, or a refusal of HTTP; never a server error', async () => {
  const random = makeRandom(SEED + 2);
  const corpus = requestCorpus(10);
  const seen = new Map<number, number>();
  for (let i = 0; i < Math.max(200, COUNT / 10); i++) {
    const json = random(2) === 0;
    const item = mutateTree(pick(corpus, random), corpus, random);
    let text: string;
    try {
      text = json ? writeJson(item) : writeXml(item);
    } catch {
      continue;
    }
    if (random(3) === 0)
      text =
        text.slice(0, random(text.length)) +
        pick(['<', '{', '"', '&', '\u0000', '9'.repeat(400), '</x>'], random) +
        text.slice(random(text.length));
    const { status } = await post(text, json ? 'application/json' : 'text/xml');
    seen.set(status, (seen.get(status) ?? 0) + 1);
    expect(status, text.slice(0, 500)).toBeLessThan(500);
  }
  console.log(`HTTP statuses: ${[...seen].map(([status, count]) => `${status}×${count}`).join(' ')}`);
  expect(seen.get(200) ?? 0).toBeGreaterThan(20);
  expect(distinct(problems.splice(0))).toEqual([]);
}, 600_000);

function post(body: string, type: string): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const outgoing = httpsRequest(
      {
        host: target.host,
        port: target.httpsPort,
        path: '/kmip',
        method: 'POST',
        ...target.tls(),
        servername: 'localhost',
        timeout: ANSWER_MS,
        headers: { 'content-type': type },
      },
      (incoming) => {
        let text = '';
        incoming.on('data', (part) => (text += part));
        incoming.on('end', () => resolve({ status: incoming.statusCode ?? 0, text }));
      },
    );
    outgoing.on('timeout', () => outgoing.destroy(new Error('no answer')));
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

const DISCOVER = Buffer.from(
  '42007801000000604200770100000038420069010000002042006a0200000004000000010000000042006b0200000004000000030000000042000d0200000004000000010000000042000f010000001842005c05000000040000001e00000000420079' +
    '0100000000',
  'hex',
);

test('a message that comes one byte at a time is answered; one that stops half-way ends its connection and no other', async () => {
  const slow = await FuzzClient.open();
  const stuck = await FuzzClient.open();
  const request = writeTtlv(readTtlv(DISCOVER));
  stuck.socket.write(request.subarray(0, request.length - 3));
  for (const byte of request) {
    slow.socket.write(Uint8Array.of(byte));
    await sleep(2);
  }
  expectWellFormed((await slow.until(1)).answers[0] as Uint8Array);
  const startedAt = Date.now();
  const outcome = await stuck.until(1);
  expect(outcome).toEqual({ answers: [], closed: true });
  expect(Date.now() - startedAt).toBeLessThan(MESSAGE_TIMEOUT_MS * 4);
  slow.socket.write(request);
  expectWellFormed((await slow.until(1)).answers[0] as Uint8Array);
  slow.socket.destroy();
});

test('a length of four gigabytes is refused before anything is allocated for it', async () => {
  const before = process.memoryUsage();
  const clients = await Promise.all(Array.from({ length: 20 }, () => FuzzClient.open()));
  for (const client of clients) client.socket.write(Buffer.from('42007801fffffff8', 'hex'));
  for (const client of clients) expect((await client.until(2)).closed).toBe(true);
  const after = process.memoryUsage();
  expect(after.arrayBuffers - before.arrayBuffers).toBeLessThan(32 << 20);
});

test('a client that never reads its answers is cut off, and holds no memory for ever', async () => {
  const client = await FuzzClient.open();
  client.socket.pause();
  const query = writeTtlv(requestCorpus(1_000_000)[0] as Item);
  const before = process.memoryUsage().rss;
  let open = true;
  client.socket.on('close', () => (open = false));
  for (let i = 0; i < 20_000 && open; i++) if (!client.socket.write(query)) await sleep(1);
  expect(process.memoryUsage().rss - before).toBeLessThan(256 << 20);
  client.socket.destroy();
});

test('TCP connections that never start TLS go away by themselves and keep nobody out', async () => {
  const sockets: Socket[] = [];
  for (let i = 0; i < 200; i++) {
    const socket = connectTcp({ host: target.host, port: target.port });
    socket.on('error', () => undefined);
    sockets.push(socket);
  }
  await sleep(100);
  const client = await FuzzClient.open();
  client.socket.write(DISCOVER);
  expectWellFormed((await client.until(1)).answers[0] as Uint8Array);
  client.socket.destroy();
  const deadline = Date.now() + MESSAGE_TIMEOUT_MS * 6;
  while (target.server.connections().handshakes > 0 && Date.now() < deadline) await sleep(50);
  expect(target.server.connections().handshakes).toBe(0);
  for (const socket of sockets) socket.destroy();
});

// PKCS#11 plane: round trips against a bare Node server of the same frames, signatures, and the time from nothing to the first one.
import { fork } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { atLeast, atMost } from './figure.mjs';
import { startService } from './service.mjs';

const SECONDS = Number(process.env.AEGIS_BENCH_SECONDS ?? '4');
const ulong = (value) => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
};
const u32 = (value) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};
const sized = (bytes) => Buffer.concat([u32(bytes.length), bytes]);
const body = (call, signature, ...parts) => Buffer.concat([u32(call), sized(Buffer.from(signature)), ...parts]);
const bytes = (value) => Buffer.concat([Buffer.of(1), sized(Buffer.from(value))]);

/** A client as p11-kit's is: one connection, an answer for every code. */
class Client {
  #waiting = new Map();
  #held = Buffer.alloc(0);
  #code = 16;
  static async open(path) {
    const client = new Client();
    client.socket = connect(path);
    await new Promise((resolve, reject) => client.socket.once('connect', resolve).once('error', reject));
    await new Promise((resolve) => {
      client.socket.once('data', (chunk) => {
        client.socket.on('data', (more) => client.#take(more));
        client.#take(chunk.subarray(1));
        resolve();
      });
      client.socket.write(Buffer.of(2));
    });
    return client;
  }
  #take(chunk) {
    this.#held = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    while (this.#held.length >= 12) {
      const end = 12 + this.#held.readUInt32BE(4) + this.#held.readUInt32BE(8);
      if (this.#held.length < end) break;
      const code = this.#held.readUInt32BE(0);
      const done = this.#waiting.get(code);
      this.#waiting.delete(code);
      const answer = this.#held.subarray(12, end);
      this.#held = this.#held.subarray(end);
      done(answer);
    }
  }
  send(request) {
    this.#code += 1;
    const code = this.#code;
    return new Promise((resolve) => {
      this.#waiting.set(code, resolve);
      this.socket.write(Buffer.concat([u32(code), u32(6), u32(request.length), Buffer.from('client'), request]));
    });
  }
  async call(request) {
    const answer = await this.send(request);
    if (answer.readUInt32BE(0) === 0) throw new Error(`0x${answer.readUInt32BE(answer.length - 4).toString(16)}`);
    return answer;
  }
  initialize() {
    return this.call(body(1, 'ayyay', bytes('PRIVATE-GNOME-KEYRING-PKCS11-PROTOCOL-V-1'), Buffer.of(0), bytes('\0')));
  }
  async session(pin) {
    const answer = await this.call(body(10, 'uu', ulong(1), ulong(6)));
    const handle = Number(answer.readBigUInt64BE(answer.length - 8));
    if (pin !== undefined) await this.call(body(18, 'uuay', ulong(handle), ulong(1), bytes(pin)));
    return handle;
  }
}

/** Calls per second of `threads` loops for a while. */
const rate = async (threads, seconds, step) => {
  const end = performance.now() + seconds * 1000;
  let calls = 0;
  await Promise.all(
    Array.from({ length: threads }, async (_, thread) => {
      while (performance.now() < end) {
        await step(thread);
        calls += 1;
      }
    }),
  );
  return calls / seconds;
};
const mean = (list) => list.reduce((a, b) => a + b, 0) / list.length;

const P256 = Buffer.from('06082a8648ce3d030107', 'hex');
const attribute = (type, value) => Buffer.concat([u32(type), Buffer.of(1), u32(value.length), sized(value)]);
const flag = (type) => Buffer.concat([u32(type), Buffer.of(1), u32(1), Buffer.of(1)]);
const generate = (session) =>
  body(59, 'uMaAaA', ulong(session), u32(0x1040), u32(2), attribute(0x180, P256), flag(0x10a), u32(1), flag(0x108));
const signInit = (session, key) => body(42, 'uMu', ulong(session), u32(0x1041), ulong(key));
const sign = (session, digest) => body(43, 'uayfy', ulong(session), bytes(digest), u32(64));

/** @returns {Promise<import('./figure.mjs').Figure[]>} */
export async function run() {
  const bareSocket = join(mkdtempSync(join(tmpdir(), 'aegis-bench-')), 'bare.sock');
  const bare = fork(new URL('./pkcs11-bare.mjs', import.meta.url).pathname, [bareSocket]);
  await new Promise((resolve) => bare.once('message', resolve));
  const service = await startService();
  try {
    const socket = join(service.dataDir, 'pkcs11.sock');
    const [theirs, ours] = [await Client.open(bareSocket), await Client.open(socket)];
    await ours.initialize();
    const session = await ours.session(service.token);
    const sessions = await Promise.all(Array.from({ length: 8 }, () => ours.session()));
    const info = (handle) => body(13, 'u', ulong(handle));
    const random = (handle) => body(64, 'ufy', ulong(handle), u32(16));
    const rates = { bareInfo: [], info: [], bareRandom: [], random: [], bareEight: [], signatures: [] };
    const made = await ours.call(generate(session));
    const key = Number(made.readBigUInt64BE(made.length - 8));
    const digest = createHash('sha256').update('bench').digest();
    const both = async (thread) => {
      await ours.call(signInit(sessions[thread], key));
      await ours.call(sign(sessions[thread], digest));
    };
    await rate(1, 0.5, () => theirs.send(info(1)));
    await rate(8, 1, both);
    for (let round = 0; round < 2; round += 1) {
      rates.bareInfo.push(await rate(1, SECONDS / 8, () => theirs.send(info(1))));
      rates.info.push(await rate(1, SECONDS / 8, () => ours.call(info(session))));
      rates.bareRandom.push(await rate(1, SECONDS / 8, () => theirs.send(random(1))));
      rates.random.push(await rate(1, SECONDS / 8, () => ours.call(random(session))));
      rates.bareEight.push(await rate(8, SECONDS / 8, () => theirs.send(info(1))));
      rates.signatures.push(await rate(8, SECONDS / 2, both));
    }
    const first = [];
    for (let n = 0; n < 10; n += 1) {
      const began = performance.now();
      const fresh = await Client.open(socket);
      await fresh.initialize();
      const handle = await fresh.session(service.token);
      const pair = await fresh.call(generate(handle));
      await fresh.call(signInit(handle, Number(pair.readBigUInt64BE(pair.length - 8))));
      await fresh.call(sign(handle, digest));
      first.push(performance.now() - began);
      fresh.socket.destroy();
    }
    const percent = (mine, bareRate) => (100 * mean(mine)) / mean(bareRate);
    const detail = (mine, bareRate) => `bare ${Math.round(mean(bareRate))}/s, Aegis ${Math.round(mean(mine))}/s`;
    return [
      atLeast(
        'PKCS#11 C_GetSessionInfo against a bare server',
        percent(rates.info, rates.bareInfo),
        80,
        '%',
        detail(rates.info, rates.bareInfo),
      ),
      atLeast(
        'PKCS#11 C_GenerateRandom against a bare server',
        percent(rates.random, rates.bareRandom),
        80,
        '%',
        detail(rates.random, rates.bareRandom),
      ),
      atLeast(
        'PKCS#11 P-256 signature (two calls, 8 threads) against that',
        percent(rates.signatures, rates.bareEight),
        40,
        '%',
        detail(rates.signatures, rates.bareEight),
      ),
      atMost('PKCS#11 from connecting to the first signature of a new key', mean(first), 50, 'ms'),
    ];
  } finally {
    bare.disconnect();
    await service.stop();
  }
}

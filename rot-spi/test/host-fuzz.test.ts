import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';
import type { RootConfig } from '../dist/config.js';
import { ROOT_FAULT_CODES, RootFault } from '../dist/fault.js';
import { ByteWriter } from '../dist/host/bytes.js';
import { CALL_CODECS, TABLE_DIGEST } from '../dist/host/call-codec.js';
import { FRAME } from '../dist/host/frames.js';
import { type HostedRoot, makeHostedRoot } from '../dist/host/hosted-root.js';
import { SentKeys } from '../dist/host/key-slots.js';
import { writeValue } from '../dist/host/values.js';

const FAULTY = fileURLToPath(new URL('./host-fixtures/fault-host.mjs', import.meta.url));
const LYING = new URL('./host-fixtures/lying-host.mjs', import.meta.url);
const HOST_MEMORY_KIB = 200_000;

/** Deterministic, so that a failure can be repeated: xorshift32. */
let state = 0x2545f491;
const random = (below: number): number => {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return (state >>> 0) % below;
};

const children: ChildProcess[] = [];
const opened: HostedRoot[] = [];
afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  await Promise.all(opened.splice(0).map((root) => root.close()));
});

const frame = (call: number, kind: number, fill: (writer: ByteWriter) => void): Buffer => {
  const writer = new ByteWriter(64);
  writer.limit = 1_000_000;
  writer.u32(0);
  writer.u32(call);
  writer.u8(kind);
  fill(writer);
  writer.putU32(0, writer.length - 4);
  return Buffer.from(writer.buffer.subarray(0, writer.length));
};
const hello = (digest = TABLE_DIGEST): Buffer =>
  frame(0, FRAME.hello, (writer) =>
    writeValue(writer, {
      digest,
      config: { id: 'fuzz', kind: 'software', fake: {} },
      maxFrame: 1_000_000,
      maxInFlight: 64,
      serverPid: process.pid,
    }),
  );

interface RawHost {
  readonly socket: Socket;
  readonly exited: Promise<number | null>;
  readonly received: () => Buffer;
  /** Peak resident memory, KiB; 0 once it is gone. */
  readonly peak: () => number;
}
const startHost = (): RawHost => {
  const child = spawn(process.execPath, [FAULTY], { stdio: ['ignore', 'ignore', 'ignore', 'pipe'] });
  children.push(child);
  const socket = child.stdio[3] as Socket;
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  socket.on('error', () => undefined);
  return {
    socket,
    exited: new Promise((resolve) => child.on('exit', (code) => resolve(code))),
    received: () => Buffer.concat(chunks),
    peak: () => {
      try {
        return Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, 'latin1'))?.[1] ?? 0);
      } catch {
        return 0;
      }
    },
  };
};
const until = async (condition: () => boolean, limitMs: number): Promise<boolean> => {
  const end = performance.now() + limitMs;
  while (!condition() && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 10));
  return condition();
};
const exitOf = (host: RawHost, limitMs = 5000): Promise<number | null | 'running'> =>
  Promise.race([host.exited, new Promise<'running'>((resolve) => setTimeout(() => resolve('running'), limitMs))]);
const ready = (host: RawHost): Promise<boolean> => until(() => host.received().length > 9, 5000);

const macCall = (call: number, length = 20): Buffer => {
  const number = CALL_CODECS.findIndex(({ name }) => name === 'mac');
  return frame(call, FRAME.call, (writer) => {
    writer.u8(number);
    const key = {
      reference: new Uint8Array([1, 2, 3]),
      binding: { objectId: 'o', version: 1, tenant: 't', spec: 'hmac-sha256', usage: ['mac'], exportable: false },
    };
    (CALL_CODECS[number] as (typeof CALL_CODECS)[number]).request.write(
      writer,
      { key, algorithm: 'hmac-sha256', data: new Uint8Array(length).fill(0x61) },
      new SentKeys(),
    );
  });
};

describe('a host that is sent nonsense', () => {
  it('before the greeting: it ends', async () => {
    const greetings = [
      Buffer.from('GET / HTTP/1.1\r\n\r\n'),
      Buffer.from('7fffffff', 'hex'),
      Buffer.from('0000000000', 'hex'),
      Buffer.from('000000050000000001', 'hex'),
      frame(0, FRAME.hello, (writer) => writeValue(writer, [])),
      frame(0, FRAME.hello, (writer) =>
        writeValue(writer, { digest: TABLE_DIGEST, config: {}, maxFrame: -1, maxInFlight: 1, serverPid: 1 }),
      ),
      macCall(1),
      Buffer.from(Array.from({ length: 5000 }, () => random(256))),
    ];
    const hosts = greetings.map((greeting) => {
      const host = startHost();
      host.socket.write(greeting);
      return host;
    });
    expect(await Promise.all(hosts.map((host) => exitOf(host)))).toEqual(greetings.map(() => 70));
  });

  it('a server of another build is told so', async () => {
    const host = startHost();
    host.socket.write(hello('0'.repeat(64)));
    expect(await exitOf(host)).toBe(0);
    expect(host.received().toString('latin1')).toContain('restart the service');
  });

  it('a length claimed but never sent costs it no memory', async () => {
    const host = startHost();
    host.socket.write(hello());
    await ready(host);
    host.socket.write(Buffer.from('000f424000000001020b', 'hex'));
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(host.peak()).toBeGreaterThan(10_000);
    expect(host.peak()).toBeLessThan(HOST_MEMORY_KIB);
    host.socket.destroy();
    expect(await exitOf(host)).toBe(0);
  });

  it('more calls than agreed end it', async () => {
    const host = startHost();
    host.socket.write(hello());
    await ready(host);
    host.socket.write(Buffer.concat(Array.from({ length: 65 }, (_, index) => macCall(index + 1))));
    expect(await exitOf(host)).toBe(70);
  });

  it('damaged calls: it answers or ends, within bounds, and never lives on without its server', async () => {
    let ends = 0;
    for (let round = 0; round < 12; round++) {
      const host = startHost();
      host.socket.write(hello());
      expect(await ready(host)).toBe(true);
      let over = false;
      void host.exited.then(() => {
        over = true;
      });
      for (let call = 1; call < 400 && !over; call++) {
        const bad = macCall(call, random(300));
        for (let left = random(4); left > 0; left--) bad[random(bad.length)] = random(256);
        host.socket.write(random(8) === 0 ? bad.subarray(0, random(bad.length)) : bad);
        if (call % 8 === 0) await new Promise((resolve) => setImmediate(resolve));
        expect(host.peak()).toBeLessThan(HOST_MEMORY_KIB);
      }
      host.socket.end();
      const code = await exitOf(host);
      expect([0, 70]).toContain(code);
      if (code === 70) ends++;
    }
    expect(ends).toBeGreaterThan(0);
  });
});

describe('a server that is answered nonsense', () => {
  const open = (fake: object, lazy = false) =>
    makeHostedRoot({
      entry: LYING,
      config: { id: 'lying', kind: 'software', hosts: 2, seal: { kind: 'key-file', path: '/x' }, fake } as unknown as RootConfig,
      options: { callTimeoutMs: 700, startTimeoutMs: 700, maxFrame: 1_000_000, lazy },
    }).then((root) => {
      opened.push(root);
      return root;
    });

  it('gives each caller the right answer or a fault in time, and stays small', async () => {
    const root = await open({ truthful: 3 });
    const before = process.memoryUsage();
    let [right, faults, tampered, longest] = [0, 0, 0, 0];
    const lane = async (): Promise<void> => {
      for (let turn = 0; turn < 40; turn++) {
        const started = performance.now();
        try {
          const { digest } = await root.call('digest', { hash: 'sha256', data: new Uint8Array(3) });
          // Damage inside the payload is another value of the right shape: only a lying host's own answer is affected.
          if (digest.length === 32 && digest.every((byte) => byte === 0x5a)) right++;
          else tampered++;
        } catch (error) {
          // A damaged kind byte can turn an answer into a well-formed fault of any code, never into another sort of error.
          expect(error).toBeInstanceOf(RootFault);
          faults++;
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
        longest = Math.max(longest, performance.now() - started);
      }
    };
    await Promise.all(Array.from({ length: 8 }, lane));
    expect(right + faults + tampered).toBe(320);
    expect(right).toBeGreaterThan(0);
    expect(faults).toBeGreaterThan(0);
    expect(longest).toBeLessThan(3000);
    const after = process.memoryUsage();
    expect(after.arrayBuffers + after.external - before.arrayBuffers - before.external).toBeLessThan(50_000_000);
  });

  it('a damaged description never becomes anything but a description or a refusal', async () => {
    for (let round = 0; round < 10; round++) {
      const root = await open({ truthful: 0, damagedStart: true }, true);
      const outcome = await root.describe().then(
        (description) => typeof description.id,
        (fault: RootFault) => fault.code,
      );
      expect(['string', ...ROOT_FAULT_CODES]).toContain(outcome);
      await root.close();
    }
  });
});

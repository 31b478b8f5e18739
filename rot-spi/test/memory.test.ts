import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseNeedles, scanProcess, toNeedles } from '../../test/interop/scan-memory.mjs';

/**
 * Proof by search: the process that a server would be holds no byte of any key after thousands of operations, while the
 * host's memory, searched in the same way, shows them. Certain bytes come from a third process.
 */
const fixture = (name: string): string => fileURLToPath(new URL(`./host-fixtures/${name}`, import.meta.url));
const canScan = process.platform === 'linux' && existsSync('/proc/self/mem');
if (!canScan && process.env['AEGIS_NO_SKIP'] === '1') throw new Error('memory can be searched on Linux only');

interface Report {
  readonly hosts: number[];
  readonly keys: { readonly binding: { readonly spec: string }; readonly reference: string }[];
}

describe.skipIf(!canScan)('memory (run on Linux to enable)', () => {
  let directory = '';
  let server: ChildProcess;
  let report: Report;
  let needles: ReturnType<typeof toNeedles>;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'aegis-memory-'));
    const path = join(directory, 'seal.key');
    server = spawn(process.execPath, [fixture('memory-server.mjs'), path], { stdio: ['pipe', 'pipe', 'inherit'] });
    const line = await new Promise<string>((resolve, reject) => {
      let text = '';
      server.stdout?.on('data', (chunk: Buffer) => {
        text += String(chunk);
        if (text.endsWith('\n')) resolve(text);
      });
      server.on('exit', (code) => reject(new Error(`the memory server ended with ${code}`)));
    });
    report = JSON.parse(line) as Report;
    const exported = spawnSync(process.execPath, [fixture('export-keys.mjs'), path], {
      input: line,
      maxBuffer: 10_000_000,
      encoding: 'utf8',
    });
    expect(exported.stderr).toBe('');
    needles = parseNeedles(exported.stdout);
  }, 120_000);

  afterAll(() => {
    server?.kill('SIGKILL');
    rmSync(directory, { recursive: true, force: true });
  });

  it('looks for every key in every form', () => {
    const names = new Set(needles.map(({ name }) => name));
    for (const { binding } of report.keys) expect([...names].some((name) => name.includes(`/${binding.spec}/`))).toBe(true);
    expect(report.keys.length).toBeGreaterThanOrEqual(100);
    expect([...names].filter((name) => name.endsWith('rsa-2048/p'))).toHaveLength(3);
    expect(needles.length).toBeGreaterThan(600);
  });

  it("the host's memory shows them, so the search can find", () => {
    const found = new Set(report.hosts.flatMap((pid) => scanProcess(pid, needles).found.map(({ name }) => name)));
    for (const spec of ['aes-256/value', 'hmac-sha256/value', 'ec-p256/d', 'rsa-2048/p', 'rsa-2048/d', 'ed25519/d']) {
      const all = new Set(needles.flatMap(({ name }) => (name.endsWith(spec) ? [name] : [])));
      const shown = [...all].filter((name) => found.has(name));
      expect(shown.length, spec).toBeGreaterThanOrEqual(Math.ceil(all.size / 2));
    }
  });

  it("the server's memory holds none of them", () => {
    const scan = scanProcess(server.pid as number, needles);
    expect(scan.bytesSearched).toBeGreaterThan(30_000_000);
    expect(scan.found).toEqual([]);
  });

  it('a secret that does lie in a process is found, wherever a chunk ends', async () => {
    const program = `
      const { createHash } = require('node:crypto');
      const made = createHash('sha256').update('planted').digest();
      const big = Buffer.alloc(40e6);
      for (let at = 0; at < big.length - 64; at += 1048571) made.copy(big, at);
      globalThis.keep = big;
      setInterval(() => big.length, 1000);
      console.log('ready');`;
    const child = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'inherit'] });
    try {
      await new Promise((resolve) => child.stdout.once('data', resolve));
      const { createHash } = await import('node:crypto');
      const planted = createHash('sha256').update('planted').digest();
      // Made here, because a regular pattern such as 00 11 22 … may be a constant of the runtime (it is in Node 26).
      const absent = createHash('sha256').update('absent').digest();
      const scan = scanProcess(child.pid as number, [...toNeedles('planted', planted), ...toNeedles('absent', absent)]);
      const whole = scan.found.find(({ form }) => form === 'whole');
      expect(whole?.count).toBeGreaterThanOrEqual(Math.floor((40e6 - 64) / 1048571));
      expect(scan.found.some(({ name }) => name === 'absent')).toBe(false);
    } finally {
      child.kill('SIGKILL');
    }
  });
});

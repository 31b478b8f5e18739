#!/usr/bin/env node
// Looks for secrets in the memory of running processes (Linux, root or the same user with ptrace rights).
//
//   node test/interop/scan-memory.mjs --pid PID [--pid PID …] --needles FILE [--no-freeze]
//
// FILE (or - for standard input) has one secret a line: a name without spaces, a space, the bytes in hex. Obtain them in
// another process (an export), never in the one that is scanned. Every readable mapping of /proc/PID/mem is searched for
// each secret whole, its first and last 16 bytes, the same back to front (OpenSSL keeps big numbers so), in hex and in
// base64. The process is stopped while it is read, so that a garbage collector can't move what is looked for.
//
// Prints one JSON object a process; never the bytes found. Exit: 0 nothing found, 1 something found, 2 could not look.
import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const PART_BYTES = 16;
const LEAST_BYTES = 8;
const CHUNK_BYTES = 8 * 1024 * 1024;

const reversed = (bytes) => Buffer.from(bytes).reverse();

/**
 * The forms in which a secret could lie in memory.
 * @param {string} name
 * @param {Uint8Array} secret at least 8 bytes
 * @returns {{ name: string, form: string, bytes: Buffer }[]}
 */
export const toNeedles = (name, secret) => {
  const whole = Buffer.from(secret);
  if (whole.length < LEAST_BYTES) throw new RangeError(`${name}: a secret of ${whole.length} bytes would be found by chance`);
  const first = whole.subarray(0, PART_BYTES);
  const last = whole.subarray(-PART_BYTES);
  const forms = {
    whole,
    'first 16': first,
    'last 16': last,
    reversed: reversed(whole),
    'first 16 reversed': reversed(first),
    'last 16 reversed': reversed(last),
    hex: Buffer.from(first.toString('hex')),
    HEX: Buffer.from(first.toString('hex').toUpperCase()),
    // Whole groups of three bytes only: what follows would change the last characters.
    base64: Buffer.from(whole.subarray(0, 15).toString('base64').replace(/=+$/, '').slice(0, 20)),
  };
  const seen = new Set();
  return Object.entries(forms).flatMap(([form, bytes]) => {
    const key = bytes.toString('latin1');
    if (seen.has(key)) return [];
    seen.add(key);
    return [{ name, form, bytes }];
  });
};

/** Needles by their first three bytes, with a bit set so that nearly every position is dismissed by one look. */
const toIndex = (needles) => {
  const bits = new Uint8Array(1 << 21);
  const byStart = new Map();
  for (const needle of needles) {
    const start = needle.bytes[0] | (needle.bytes[1] << 8) | (needle.bytes[2] << 16);
    bits[start >>> 3] |= 1 << (start & 7);
    byStart.set(start, [...(byStart.get(start) ?? []), needle]);
  }
  return { bits, byStart, longest: Math.max(3, ...needles.map(({ bytes }) => bytes.length)) };
};

const searchChunk = (chunk, from, index, hit) => {
  const { bits, byStart } = index;
  if (chunk.length < 3) return;
  let window = (chunk[0] << 8) | (chunk[1] << 16);
  for (let at = 0; at + 2 < chunk.length; at++) {
    window = (window >>> 8) | (chunk[at + 2] << 16);
    if ((bits[window >>> 3] & (1 << (window & 7))) === 0) continue;
    for (const needle of byStart.get(window) ?? []) {
      // The part before `from` was searched with the chunk before; only what reaches beyond it is new.
      if (at + needle.bytes.length <= from || at + needle.bytes.length > chunk.length) continue;
      if (chunk.compare(needle.bytes, 0, needle.bytes.length, at, at + needle.bytes.length) === 0) hit(needle);
    }
  }
};

const readableMappings = (pid) =>
  readFileSync(`/proc/${pid}/maps`, 'latin1')
    .split('\n')
    .flatMap((line) => {
      const match = /^([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+\s*(.*)$/.exec(line);
      if (match === null || match[3][0] !== 'r' || /^\[v(var|syscall)/.test(match[4])) return [];
      return [{ start: BigInt(`0x${match[1]}`), end: BigInt(`0x${match[2]}`), name: match[4] || 'anonymous' }];
    });

const searchMapping = (memory, mapping, index, found) => {
  const overlap = index.longest - 1;
  const buffer = Buffer.alloc(CHUNK_BYTES + overlap);
  const hit = (needle) => {
    const key = `${needle.name}\0${needle.form}`;
    const entry = found.get(key) ?? { name: needle.name, form: needle.form, count: 0, where: new Set() };
    entry.count++;
    entry.where.add(mapping.name);
    found.set(key, entry);
  };
  let carried = 0;
  let total = 0;
  for (let at = mapping.start; at < mapping.end; ) {
    const wanted = Number(mapping.end - at < BigInt(CHUNK_BYTES) ? mapping.end - at : BigInt(CHUNK_BYTES));
    let got = 0;
    try {
      got = readSync(memory, buffer, carried, wanted, at);
    } catch {
      // A page of a file that was cut short, or device memory: nothing of the process is there.
    }
    if (got <= 0) return total;
    searchChunk(buffer.subarray(0, carried + got), carried, index, hit);
    total += got;
    at += BigInt(got);
    const keep = Math.min(overlap, carried + got);
    buffer.copy(buffer, 0, carried + got - keep, carried + got);
    carried = keep;
  }
  return total;
};

/**
 * @param {number} pid
 * @param {ReturnType<typeof toNeedles>} needles
 * @param {{ freeze?: boolean }} [options]
 * @returns {{ pid: number, bytesSearched: number, found: { name: string, form: string, count: number, where: string[] }[] }}
 */
export const scanProcess = (pid, needles, { freeze = true } = {}) => {
  if (pid === process.pid) throw new RangeError('a process that holds the needles finds them in itself');
  const index = toIndex(needles);
  const found = new Map();
  const memory = openSync(`/proc/${pid}/mem`, 'r');
  let bytesSearched = 0;
  if (freeze) process.kill(pid, 'SIGSTOP');
  try {
    for (const mapping of readableMappings(pid)) bytesSearched += searchMapping(memory, mapping, index, found);
  } finally {
    if (freeze) process.kill(pid, 'SIGCONT');
    closeSync(memory);
  }
  return { pid, bytesSearched, found: [...found.values()].map((entry) => ({ ...entry, where: [...entry.where] })) };
};

/** @param {string} text lines of `name hex` */
export const parseNeedles = (text) =>
  text
    .split('\n')
    .filter((line) => line.trim() !== '')
    .flatMap((line, number) => {
      const match = /^(\S+) ((?:[0-9a-fA-F]{2})+)$/.exec(line.trim());
      if (match === null) throw new SyntaxError(`line ${number + 1} of the needles is not "name hex"`);
      return toNeedles(match[1], Buffer.from(match[2], 'hex'));
    });

const main = () => {
  const { values } = parseArgs({
    options: { pid: { type: 'string', multiple: true }, needles: { type: 'string' }, 'no-freeze': { type: 'boolean' } },
  });
  if (!values.pid?.length || !values.needles) throw new SyntaxError('usage: scan-memory.mjs --pid PID … --needles FILE [--no-freeze]');
  const needles = parseNeedles(readFileSync(values.needles === '-' ? 0 : values.needles, 'utf8'));
  if (needles.length === 0) throw new SyntaxError('there are no needles to look for');
  let anything = false;
  for (const pid of values.pid) {
    const report = scanProcess(Number(pid), needles, { freeze: values['no-freeze'] !== true });
    if (report.bytesSearched === 0) throw new Error(`nothing of process ${pid} could be read`);
    anything ||= report.found.length > 0;
    process.stdout.write(`${JSON.stringify(report)}\n`);
  }
  return anything ? 1 : 0;
};

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    process.exitCode = main();
  } catch (error) {
    process.stderr.write(`scan-memory: ${error.message}\n`);
    process.exitCode = 2;
  }
}

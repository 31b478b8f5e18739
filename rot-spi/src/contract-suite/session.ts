import type {
  BoundKey,
  CreatedKey,
  KeyBinding,
  RootCallName,
  RootDescription,
  RootOfTrust,
  RootRequest,
  RootResponse,
} from '../contract.js';
import { RootFault, type RootFaultCode } from '../fault.js';
import {
  ALGORITHMS,
  type Algorithm,
  type AlgorithmRow,
  HASH_BYTES,
  KEY_SPECS,
  type KeySpec,
  type KeySpecRow,
  type KeyUsage,
} from '../vocabulary/index.js';
import type { ContractRunner, ContractTarget } from './target.js';
import { TEST_RSA_KEYS } from './vectors.js';

export const hex = (text: string): Buffer => Buffer.from(text, 'hex');
export const toHex = (bytes: Uint8Array | undefined): string => (bytes === undefined ? 'absent' : Buffer.from(bytes).toString('hex'));

/** Enough of every usage to try anything; refusals have bindings of their own. */
export const ALL_USAGES: readonly KeyUsage[] = [
  'sign',
  'verify',
  'encrypt',
  'decrypt',
  'wrap',
  'unwrap',
  'mac',
  'mac-verify',
  'derive',
  'agree',
];

export type Row = AlgorithmRow & { readonly name: Algorithm };
export const rowOf = (algorithm: Algorithm): Row => ALGORITHMS[algorithm] as Row;
export const specRow = (spec: KeySpec): KeySpecRow & { readonly name: KeySpec } =>
  KEY_SPECS[spec] as KeySpecRow & { readonly name: KeySpec };

/** Whether the table lets a key of this spec do it at all (RFC 8017 §7.1.1 and §9.1.1 for what does not fit an RSA modulus). */
export const tableAllows = (spec: KeySpec, row: Row): boolean => {
  const key = specRow(spec);
  if (!row.families.includes(key.family)) return false;
  if (key.family === 'eddsa') return row.name === spec;
  if (key.family === 'hmac' && row.kind === 'mac') return row.hash === key.hash;
  if (key.family !== 'rsa' || row.hash === undefined) return true;
  const hashBytes = HASH_BYTES[row.hash];
  if (row.name.startsWith('rsa-pss')) return key.bits / 8 >= 2 * hashBytes + 2;
  if (row.name.startsWith('rsa-oaep') || row.name === 'rsa-aes-kwp')
    return key.bits / 8 - 2 * hashBytes - 2 >= (row.kind === 'wrap' ? 32 : 1);
  return true;
};

export class Session {
  readonly target: ContractTarget;
  readonly expect: ContractRunner['expect'];
  #root: Promise<RootOfTrust> | undefined;
  #other: Promise<RootOfTrust> | undefined;
  #next = 0;
  readonly #keys = new Map<string, Promise<BoundKey & { readonly created: CreatedKey }>>();
  readonly #listed: readonly RegExp[];

  constructor(target: ContractTarget, runner: ContractRunner) {
    this.target = target;
    this.expect = runner.expect;
    this.#listed = (target.expectUnsupported ?? []).map(({ what }) => toPattern(what));
  }

  root(): Promise<RootOfTrust> {
    this.#root ??= this.target.open();
    return this.#root;
  }
  other(): Promise<RootOfTrust> | undefined {
    if (this.target.reopenOther === undefined) return undefined;
    this.#other ??= this.target.reopenOther();
    return this.#other;
  }
  async describe(): Promise<RootDescription> {
    return (await this.root()).describe();
  }
  async call<C extends RootCallName>(name: C, request: RootRequest<C>): Promise<RootResponse<C>> {
    return (await this.root()).call(name, request);
  }

  /** A binding of its own: no two keys of the suite share an object id. */
  binding(spec: KeySpec, more: Partial<KeyBinding> = {}): KeyBinding {
    this.#next += 1;
    return { objectId: `suite-${this.#next}`, version: 1, tenant: 'tenant-a', spec, usage: ALL_USAGES, exportable: false, ...more };
  }

  isListed(what: string): boolean {
    return this.#listed.some((pattern) => pattern.test(what));
  }

  async supports(algorithm: Algorithm, spec: KeySpec): Promise<boolean> {
    return (await this.describe()).algorithms.some((line) => line.algorithm === algorithm && line.specs.includes(spec));
  }
  async imports(spec: KeySpec): Promise<boolean> {
    const { powers, specs } = await this.describe();
    return powers.includes('importKey') && specs.some((line) => line.spec === spec && line.import);
  }
  /** A cipher that every root with AES keys has: CBC, or GCM where the back end has AEADs only. */
  async cipher(): Promise<'aes-cbc' | 'aes-gcm'> {
    return (await this.supports('aes-cbc', 'aes-256')) ? 'aes-cbc' : 'aes-gcm';
  }
  async has(power: RootCallName): Promise<boolean> {
    return (await this.describe()).powers.includes(power);
  }

  /**
   * Runs `body`; where its parameter is a listed gap it must be refused as `unsupported` instead. So a gap that was
   * closed shows, and one that was not listed fails.
   */
  async attempt(parameter: string | undefined, body: () => Promise<void>): Promise<void> {
    if (parameter === undefined || !this.isListed(`parameter:${parameter}`)) return body();
    await this.refused('unsupported', body);
  }

  async refused(codes: RootFaultCode | readonly RootFaultCode[], body: () => Promise<unknown>): Promise<RootFault> {
    const wanted: readonly string[] = typeof codes === 'string' ? [codes] : codes;
    let outcome: unknown;
    try {
      await body();
      outcome = 'no fault';
    } catch (error) {
      outcome = error;
    }
    if (!(outcome instanceof RootFault)) throw new Error(`wanted RootFault ${wanted.join(' or ')}, got ${String(outcome)}`);
    this.expect(wanted.includes(outcome.code) ? wanted[0] : `${outcome.code}: ${outcome.message}`, 'fault code').toBe(wanted[0]);
    return outcome;
  }

  /** A key of this spec with every usage, made once: generated, or imported where it cannot be generated. */
  key(spec: KeySpec, more: Partial<KeyBinding> = {}): Promise<BoundKey & { readonly created: CreatedKey }> {
    const id = `${spec} ${JSON.stringify(more)}`;
    const made = this.#keys.get(id) ?? this.#make(this.binding(spec, more));
    this.#keys.set(id, made);
    return made;
  }

  async #make(binding: KeyBinding): Promise<BoundKey & { readonly created: CreatedKey }> {
    const { specs } = await this.describe();
    const line = specs.find(({ spec }) => spec === binding.spec);
    const pair = specRow(binding.spec).shape === 'pair';
    const material = TEST_RSA_KEYS[binding.spec];
    if (line?.generate !== true && material !== undefined) return this.imported(binding, 'pkcs8', hex(material));
    if (binding.spec === 'des3-weak') return this.imported(binding, 'raw', Buffer.alloc(24, 1));
    const created = pair ? await this.call('generateKeyPair', { binding }) : await this.call('generateKey', { binding });
    return { reference: created.reference, binding, created };
  }

  async imported(
    binding: KeyBinding,
    format: 'raw' | 'pkcs8' | 'spki',
    material: Uint8Array,
  ): Promise<BoundKey & { readonly created: CreatedKey }> {
    const created = await this.call('importKey', { binding, format, material: Buffer.from(material) });
    return { reference: created.reference, binding, created };
  }

  async close(): Promise<void> {
    await (await this.root()).close();
    // A second root that could not be opened has failed its own test already.
    await (await this.#other?.catch(() => undefined))?.close();
  }
}

const toPattern = (what: string): RegExp =>
  new RegExp(
    `^${what
      .split('*')
      .map((part) => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&'))
      .join('.*')}$`,
  );

/** A copy with one bit changed. */
export const flipped = (bytes: Uint8Array, bit: number): Buffer => {
  const copy = Buffer.from(bytes);
  const at = Math.floor(bit / 8) % copy.length;
  copy[at] = (copy[at] ?? 0) ^ (1 << (bit % 8));
  return copy;
};

/** Deterministic bytes, so that a failure repeats. */
export const pattern = (length: number): Buffer => Buffer.from(Array.from({ length }, (_, index) => (index * 167 + 13) & 0xff));

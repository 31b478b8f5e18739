import { randomBytes } from 'node:crypto';
import type { BoundKey, CreatedKey, KeyBinding, KeyProvenance, VerificationKey } from '../contract.js';
import { RootFault } from '../fault.js';
import { KEY_SPECS, type KeySpec } from '../vocabulary/index.js';
import type { Anchors } from './anchors.js';
import { canonicalSpki, pointFromSpki } from './asymmetric.js';
import { checkValueOf } from './check-value.js';
import { ckError, ckrOf, classOf, tokenGoneIfStale } from './ck-error.js';
import type { Connection } from './connection.js';
import { CKA, CKO, CKR } from './constants.js';
import type { Handle, Template } from './cryptoki.js';
import { tlv } from './der.js';
import { Lru } from './lru.js';
import { canWrap, isPrivateKeyType, type SpecPlan } from './plans.js';
import { generatorOf } from './public-point.js';
import { brokenReference, type DecodedReference, decodeReference, ID_BYTES, type Reference, sameBinding } from './reference.js';
import { type Placement, privateTemplate, publicTemplate, readBoolean, secretTemplate } from './templates.js';

const MAX_REFERENCE_BYTES = 16_384;
const MIN_REFERENCE_BYTES = 48;
const MAX_WRAPPED_BYTES = 16_384;
const CACHE_KEY_BYTES = 16;
const DEFAULT_CACHE_ENTRIES = 1_000;

/** A key of which the token has told the handle and whose reference has been verified. */
export interface OpenKey {
  readonly bytes: Buffer;
  readonly binding: KeyBinding;
  readonly reference: Reference;
  readonly handle: Handle;
  readonly generation: number;
  /** Asynchronous calls using the handle now. */
  pins: number;
  doomed: boolean;
}
interface OpenPublicKey {
  readonly handle: Handle;
  readonly generation: number;
}

const asBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

export { asBuffer };

/**
 * How a wrapped key stays non-extractable although PKCS#11 wraps only extractable keys: it is generated as an extractable but
 * sensitive session object, wrapped by `aegis-wrap` in the same turn of the event loop and destroyed; what is kept is the
 * wrapped key, authenticated with its binding. Opened again it is a sensitive session object with CKA_EXTRACTABLE false, unless
 * its binding says exportable. `aegis-wrap` is a token object that can wrap and unwrap but not decrypt, and never leaves.
 * The limit of this: whoever has the PIN *and* the wrapped key can unwrap it as extractable, because CKA_UNWRAP_TEMPLATE and
 * CKA_WRAP_WITH_TRUSTED are missing from many modules and out of reach of pkcs11js (attribute arrays). `storage: token` resists
 * that too; NEVER_EXTRACTABLE is false for wrapped keys and is reported so.
 *
 * Knows where keys are: token objects, wrapped keys opened as session objects, public keys; and forgets the least used.
 */
export class KeyStore {
  readonly #connection: Connection;
  readonly #anchors: Anchors;
  readonly #plans: ReadonlyMap<KeySpec, SpecPlan>;
  readonly #open: Lru<OpenKey>;
  readonly #public: Lru<OpenPublicKey>;

  constructor(connection: Connection, anchors: Anchors, plans: ReadonlyMap<KeySpec, SpecPlan>) {
    this.#connection = connection;
    this.#anchors = anchors;
    this.#plans = plans;
    const limit = connection.config.cacheEntries ?? DEFAULT_CACHE_ENTRIES;
    this.#open = new Lru(limit, (key) => this.#release(key));
    this.#public = new Lru(limit, ({ handle, generation }) => this.#destroySession(handle, generation));
  }

  plan(spec: KeySpec): SpecPlan {
    const plan = this.#plans.get(spec);
    if (plan === undefined) throw new RootFault('unsupported', `this token does not hold ${spec} keys`);
    return plan;
  }

  /** The key behind a reference. Asks the token only the first time. */
  open(key: BoundKey): OpenKey {
    const bytes = asBuffer(key.reference);
    if (bytes.length < MIN_REFERENCE_BYTES || bytes.length > MAX_REFERENCE_BYTES) throw brokenReference();
    const cacheKey = bytes.toString('latin1', bytes.length - CACHE_KEY_BYTES);
    const known = this.#open.get(cacheKey);
    if (
      known !== undefined &&
      known.generation === this.#connection.generation &&
      known.bytes.equals(bytes) &&
      sameBinding(known.binding, key.binding)
    )
      return known;
    const decoded = decodeReference(Buffer.from(bytes));
    this.#anchors.verify(key.binding, decoded);
    return this.#remember(cacheKey, key.binding, decoded, this.#locate(key.binding, decoded.reference));
  }

  /** Like `open`, for keys of which only the private or secret part will do. */
  openSecret(key: BoundKey): OpenKey {
    const opened = this.open(key);
    if (opened.reference.kind === 'public')
      throw new RootFault(
        'usage-denied',
        'only the public key of this pair is in the root',
        'Import the private key if it must be used here.',
      );
    return opened;
  }

  forget(key: BoundKey): void {
    const bytes = asBuffer(key.reference);
    this.#open.drop(bytes.toString('latin1', Math.max(0, bytes.length - CACHE_KEY_BYTES)));
  }

  /** The public key of either form of a verification key, checked. */
  publicKeyOf(key: VerificationKey): { readonly spec: KeySpec; readonly spki: Buffer } {
    if (!('reference' in key)) return { spec: key.spec, spki: asBuffer(key.publicKey) };
    return { spec: key.binding.spec, spki: this.open(key).reference.spki };
  }

  /** A session object for a public key. */
  openPublic(spec: KeySpec, spki: Buffer): Handle {
    const cacheKey = `${spec} ${spki.toString('latin1')}`;
    const known = this.#public.get(cacheKey);
    if (known !== undefined && known.generation === this.#connection.generation) return known.handle;
    const { cryptoki, anchor, generation } = this.#connection;
    const template = publicTemplate(spec, canonicalSpki(spki, spec), this.plan(spec).curveParams);
    const handle = createPublic(() => cryptoki.C_CreateObject(anchor, template));
    this.#public.set(cacheKey, { handle, generation });
    return handle;
  }

  forgetPublic(spec: KeySpec, spki: Buffer): void {
    this.#public.drop(`${spec} ${spki.toString('latin1')}`);
  }

  /** Keeps a key's session object alive across an asynchronous call. */
  async pinned<T>(key: OpenKey, use: () => Promise<T>): Promise<T> {
    key.pins += 1;
    try {
      return await use();
    } finally {
      this.unpin(key);
    }
  }
  unpin(key: OpenKey): void {
    key.pins -= 1;
    if (key.doomed && key.pins === 0) this.#destroySession(key.handle, key.generation);
  }

  /** Where a new key of this binding goes; `bytes` for secret values. */
  placement(binding: KeyBinding, bytes?: number): Placement & { readonly wrapped: boolean } {
    const plan = this.plan(binding.spec);
    const wrapped = this.#connection.config.storage === 'wrapped' && canWrap(plan, bytes) && this.#anchors.wrapping !== undefined;
    return {
      binding,
      keyType: plan.keyType,
      wrapped,
      token: !wrapped,
      // For the moment between generation and wrapping only; opened again, it is extractable only if exportable.
      extractable: wrapped || binding.exportable,
      sensitive: !(binding.exportable && plan.exportVia?.kind === 'value'),
      ...(wrapped ? {} : { id: randomBytes(ID_BYTES) }),
    };
  }

  templateOf(placement: Placement): Template {
    return isPrivateKeyType(placement.keyType) ? privateTemplate(placement) : secretTemplate(placement);
  }

  /**
   * Turns a freshly made object into a reference. A key for `storage: wrapped` is wrapped here and its object destroyed; when
   * anything fails nothing stays behind.
   */
  keep(
    placement: Placement & { readonly wrapped: boolean },
    handle: Handle,
    facts: { readonly bits: number; readonly spki?: Buffer; readonly local?: true },
  ): CreatedKey {
    const { cryptoki, anchor } = this.#connection;
    const { binding, keyType } = placement;
    let kept = false;
    try {
      const told = this.provenanceOf(handle);
      // NSS leaves CKA_LOCAL unset for pairs it made; that C_GenerateKey made this one is known here.
      const provenance = { ...told, local: told.local || facts.local === true };
      const spki = facts.spki ?? Buffer.alloc(0);
      const base = { provenance, bits: facts.bits, keyType, spki };
      const reference = this.#anchors.seal(
        binding,
        placement.wrapped
          ? { ...base, ...this.#wrap(binding.spec, handle) }
          : { ...base, kind: 'token' as const, id: placement.id ?? Buffer.alloc(0) },
      );
      kept = !placement.wrapped;
      return {
        reference,
        bits: facts.bits,
        provenance,
        ...(facts.spki === undefined ? {} : { publicKey: facts.spki, checkValue: checkValueOf(facts.spki) }),
      };
    } finally {
      if (!kept) cryptoki.C_DestroyObject(anchor, handle);
    }
  }

  /** A reference to a public key alone. */
  keepPublic(binding: KeyBinding, spki: Buffer): CreatedKey {
    const { bits } = KEY_SPECS[binding.spec];
    const provenance = { local: false, alwaysSensitive: false, neverExtractable: false };
    const { keyType } = this.plan(binding.spec);
    const reference = this.#anchors.seal(binding, { kind: 'public', provenance, bits, keyType, spki });
    return { reference, bits, provenance, publicKey: spki, checkValue: checkValueOf(spki) };
  }

  provenanceOf(handle: Handle): KeyProvenance {
    const { cryptoki, anchor } = this.#connection;
    const flag = (type: number): boolean => readBoolean(cryptoki, anchor, handle, type) ?? false;
    return { local: flag(CKA.LOCAL), alwaysSensitive: flag(CKA.ALWAYS_SENSITIVE), neverExtractable: flag(CKA.NEVER_EXTRACTABLE) };
  }

  /** Deletes the token object behind a reference, if it still is there. */
  destroy(key: BoundKey): void {
    const bytes = asBuffer(key.reference);
    if (bytes.length < MIN_REFERENCE_BYTES || bytes.length > MAX_REFERENCE_BYTES) throw brokenReference();
    const decoded = decodeReference(Buffer.from(bytes));
    this.#anchors.verify(key.binding, decoded);
    this.forget(key);
    if (decoded.reference.kind !== 'token') return;
    const { cryptoki, anchor } = this.#connection;
    const found = this.#find(decoded.reference.id);
    // Nothing found may also mean that the token is gone: then it would be wrong to say that the key is destroyed.
    if (found.length === 0 && !this.#anchors.present()) throw ckError(CKR.TOKEN_NOT_PRESENT);
    for (const handle of found) cryptoki.C_DestroyObject(anchor, handle);
  }

  /** The same key under the newest binding key, and wrapped by the current wrapping key. */
  reseal(key: BoundKey): Buffer {
    const { reference, binding } = this.open(key);
    const { cryptoki, anchor } = this.#connection;
    if (reference.kind !== 'wrapped') return this.#anchors.seal(binding, reference);
    const handle = this.#unwrap(binding, reference, true);
    try {
      return this.#anchors.seal(binding, { ...reference, ...this.#wrap(binding.spec, handle) });
    } finally {
      cryptoki.C_DestroyObject(anchor, handle);
    }
  }

  /** What the module wants to know of the public point before it unwraps a private key. */
  pointHint(spec: KeySpec, spki: Buffer): Template {
    return pointHint(this.plan(spec), spki);
  }
  /** Any point, for a look at a key whose own point is what is looked for. */
  placeholderPoint(spec: KeySpec): Template {
    return this.plan(spec).needsPoint ? [{ type: CKA.NSS_DB, value: tlv(0x04, generatorOf(spec)) }] : [];
  }

  /** All handles are dead: after a new log-in. */
  abandon(): void {
    this.#open.abandon();
    this.#public.abandon();
  }

  #remember(cacheKey: string, binding: KeyBinding, decoded: DecodedReference, handle: Handle): OpenKey {
    const key: OpenKey = {
      bytes: Buffer.concat([decoded.body, decoded.mac]),
      binding: { ...binding, usage: [...binding.usage] },
      reference: decoded.reference,
      handle,
      generation: this.#connection.generation,
      pins: 0,
      doomed: false,
    };
    this.#open.set(cacheKey, key);
    return key;
  }

  #locate(binding: KeyBinding, reference: Reference): Handle {
    if (reference.kind === 'public') return Buffer.alloc(0);
    if (reference.kind === 'wrapped') return this.#unwrap(binding, reference, binding.exportable);
    const wanted = isPrivateKeyType(reference.keyType) ? CKO.PRIVATE_KEY : CKO.SECRET_KEY;
    const found = this.#find(reference.id, wanted);
    const [handle] = found;
    if (handle === undefined) {
      if (!this.#anchors.present()) throw ckError(CKR.TOKEN_NOT_PRESENT);
      throw new RootFault(
        'key-not-found',
        'the token object of this key is gone',
        'It was deleted in the token; restore it from the HSM backup or destroy the key.',
      );
    }
    this.#checkObject(found, handle, binding);
    return handle;
  }

  /** What somebody with the PIN may have done to the object behind our back. */
  #checkObject(found: readonly Handle[], handle: Handle, binding: KeyBinding): void {
    const { cryptoki, anchor } = this.#connection;
    const tampered = (what: string): RootFault =>
      new RootFault('reference-invalid', `the token object of this key was changed: ${what}`, 'Find out who has the PIN of the token.');
    if (found.length > 1) throw tampered('its CKA_ID is not unique');
    if (!binding.exportable && readBoolean(cryptoki, anchor, handle, CKA.EXTRACTABLE) !== false) throw tampered('it is extractable now');
  }

  #find(id: Buffer, objectClass?: number): Handle[] {
    const { cryptoki, anchor } = this.#connection;
    cryptoki.C_FindObjectsInit(anchor, [
      { type: CKA.TOKEN, value: true },
      { type: CKA.ID, value: id },
      ...(objectClass === undefined ? [] : [{ type: CKA.CLASS, value: objectClass }]),
    ]);
    try {
      return cryptoki.C_FindObjects(anchor, 8);
    } finally {
      cryptoki.C_FindObjectsFinal(anchor);
    }
  }

  #wrap(
    spec: KeySpec,
    handle: Handle,
  ): { readonly kind: 'wrapped'; readonly wrappingId: Buffer; readonly mechanism: number; readonly blob: Buffer } {
    const { cryptoki, anchor } = this.#connection;
    const { wrap } = this.plan(spec);
    const { wrapping } = this.#anchors;
    if (wrap === undefined || wrapping === undefined) throw new RootFault('unsupported', `this module does not wrap ${spec} keys`);
    try {
      const blob = cryptoki.C_WrapKey(anchor, { mechanism: wrap }, wrapping.handle, handle, Buffer.alloc(MAX_WRAPPED_BYTES));
      return { kind: 'wrapped', wrappingId: wrapping.id, mechanism: wrap, blob: Buffer.from(blob) };
    } catch (error) {
      throw tokenGoneIfStale(error);
    }
  }

  #unwrap(binding: KeyBinding, reference: Reference & { readonly kind: 'wrapped' }, extractable: boolean): Handle {
    const { cryptoki, anchor } = this.#connection;
    const plan = this.plan(binding.spec);
    const placement = {
      binding,
      keyType: reference.keyType,
      token: false,
      extractable,
      sensitive: !(binding.exportable && plan.exportVia?.kind === 'value'),
      valueLater: true,
    };
    const template = [...this.templateOf(placement), ...pointHint(plan, reference.spki)];
    const wrapping = this.#anchors.wrappingKey(reference.wrappingId);
    try {
      return cryptoki.C_UnwrapKey(anchor, { mechanism: reference.mechanism }, wrapping, reference.blob, template);
    } catch (error) {
      throw tokenGoneIfStale(error);
    }
  }

  #release(key: OpenKey): void {
    if (key.reference.kind !== 'wrapped') return;
    if (key.pins > 0) key.doomed = true;
    else this.#destroySession(key.handle, key.generation);
  }

  #destroySession(handle: Handle, generation: number): void {
    if (generation !== this.#connection.generation) return;
    try {
      this.#connection.cryptoki.C_DestroyObject(this.#connection.anchor, handle);
    } catch {
      // It died with its session.
    }
  }
}

/** A public key the module will not have is the caller's mistake (a point off the curve, an exponent of one), not a mismatch. */
const createPublic = (create: () => Handle): Handle => {
  try {
    return create();
  } catch (error) {
    const rv = ckrOf(error);
    if (rv !== undefined && classOf(rv) === 'data') throw new RootFault('invalid-argument', 'the module refuses the public key');
    throw error;
  }
};

export const pointHint = (plan: SpecPlan, spki: Buffer): Template =>
  plan.needsPoint && spki.length > 0 ? [{ type: CKA.NSS_DB, value: tlv(0x04, pointFromSpki(spki)) }] : [];

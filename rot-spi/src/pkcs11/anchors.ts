import { randomBytes, timingSafeEqual } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { KeyBinding } from '../contract.js';
import { RootFault } from '../fault.js';
import { ckrOf, tokenGoneIfStale } from './ck-error.js';
import type { Connection } from './connection.js';
import { CKA, CKK, CKM, CKO } from './constants.js';
import type { Handle, Template } from './cryptoki.js';
import { brokenReference, type DecodedReference, encodeBody, FINGERPRINT_BYTES, ID_BYTES, macInput, type Unsealed } from './reference.js';
import { readAttribute, readNumber } from './templates.js';

/**
 * The two keys a root keeps in its token. `aegis-binding` authenticates references; `aegis-wrap` wraps keys that live
 * outside. Neither ever leaves, and neither can do anything else.
 *
 * Hosts and nodes may start together on a fresh token, and PKCS#11 has no lock. So the identifier begins with the time of
 * creation, everybody waits a moment after creating or after seeing a young key, looks again, and the oldest wins; a loser
 * deletes its own, which nobody can have used. Should two survive all the same (a machine that slept between the steps),
 * both go on opening what they made.
 */
const BINDING_LABEL = 'aegis-binding';
const WRAP_LABEL = 'aegis-wrap';
const SETTLE_MS = 300;
/** A key younger than this may still lose. */
const YOUNG_MS = 2_000;
const MAX_SETTLE_ROUNDS = 20;
const FINGERPRINT_INPUT = Buffer.from('aegis-pkcs11-fingerprint-v1', 'ascii');
const MAX_ANCHORS = 64;

interface Anchor {
  readonly id: Buffer;
  readonly handle: Handle;
}
interface BindingAnchor extends Anchor {
  readonly fingerprint: Buffer;
  readonly mechanism: number;
  readonly macBytes: number;
}

const newId = (): Buffer => {
  const id = randomBytes(ID_BYTES);
  id.writeUIntBE(0, 0, 2);
  id.writeUIntBE(Date.now(), 2, 6);
  return id;
};
const bornMs = (id: Buffer): number => id.readUIntBE(2, 6);

const anchorTemplate = (label: string, id: Buffer, keyType: number, usage: 'sign' | 'wrap'): Template => [
  { type: CKA.CLASS, value: CKO.SECRET_KEY },
  { type: CKA.KEY_TYPE, value: keyType },
  { type: CKA.TOKEN, value: true },
  { type: CKA.PRIVATE, value: true },
  { type: CKA.MODIFIABLE, value: false },
  { type: CKA.SENSITIVE, value: true },
  { type: CKA.EXTRACTABLE, value: false },
  { type: CKA.ENCRYPT, value: false },
  { type: CKA.DECRYPT, value: false },
  { type: CKA.SIGN, value: usage === 'sign' },
  { type: CKA.VERIFY, value: usage === 'sign' },
  { type: CKA.WRAP, value: usage === 'wrap' },
  { type: CKA.UNWRAP, value: usage === 'wrap' },
  { type: CKA.DERIVE, value: false },
  { type: CKA.VALUE_LEN, value: 32 },
  { type: CKA.LABEL, value: label },
  { type: CKA.ID, value: id },
];

export class Anchors {
  readonly #connection: Connection;
  #bindings: BindingAnchor[] = [];
  #wraps: Anchor[] = [];

  private constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Finds the keys, or makes them on first use. */
  static async open(connection: Connection): Promise<Anchors> {
    const anchors = new Anchors(connection);
    await Promise.all([
      anchors.#settle(BINDING_LABEL, (id) => anchors.#createBinding(id)),
      anchors.#settle(WRAP_LABEL, (id) => anchors.#createWrap(id)),
    ]);
    anchors.#load();
    connection.onOpen = () => anchors.#reload();
    return anchors;
  }

  get #current(): BindingAnchor {
    const [oldest] = this.#bindings;
    if (oldest === undefined) throw new RootFault('unavailable', 'the aegis-binding key is not in the token');
    return oldest;
  }
  /** Identity of this root: derived from the binding key, so it follows the token and not the configuration. */
  get fingerprint(): Buffer {
    return this.#current.fingerprint;
  }
  /** The wrapping key for new references; undefined where the module cannot hold one. */
  get wrapping(): Anchor | undefined {
    return this.#wraps[0];
  }
  wrappingKey(id: Buffer): Handle {
    const found = this.#wraps.find((anchor) => anchor.id.equals(id));
    if (found === undefined) throw new RootFault('key-not-found', 'the wrapping key of this reference is not in the token any more');
    return found.handle;
  }

  /** Reference bytes for a key, bound to `binding`. */
  seal(binding: KeyBinding, reference: Unsealed): Buffer {
    const anchor = this.#current;
    const body = encodeBody({ ...reference, fingerprint: anchor.fingerprint });
    return Buffer.concat([body, this.#mac(anchor, macInput(binding, body))]);
  }

  /** Throws `wrong-root` or `reference-invalid` unless this root made the reference for exactly this binding. */
  verify(binding: KeyBinding, decoded: DecodedReference): void {
    const anchor = this.#bindings.find(({ fingerprint }) => fingerprint.equals(decoded.reference.fingerprint));
    if (anchor === undefined)
      throw new RootFault(
        'wrong-root',
        'the key reference was made by another root or token',
        'Check that this root is configured with the token that made the key.',
      );
    const expected = this.#mac(anchor, macInput(binding, decoded.body));
    if (expected.length !== decoded.mac.length || !timingSafeEqual(expected, decoded.mac)) throw brokenReference();
  }

  /** Whether the token still is the one it was. */
  present(): boolean {
    try {
      return this.#find(BINDING_LABEL).some((anchor) => anchor.id.equals(this.#current.id));
    } catch {
      return false;
    }
  }

  /** A MAC under the binding key: proof of token, log-in and key in one real operation. */
  check(): void {
    const anchor = this.#current;
    if (!this.#fingerprint(anchor.handle, anchor.mechanism).equals(anchor.fingerprint))
      throw new RootFault('unavailable', 'the aegis-binding key in the token is not the one it was');
  }

  #mac(anchor: Pick<BindingAnchor, 'handle' | 'mechanism' | 'macBytes'>, data: Buffer): Buffer {
    const { cryptoki, anchor: session } = this.#connection;
    try {
      cryptoki.C_SignInit(session, { mechanism: anchor.mechanism }, anchor.handle);
      return cryptoki.C_Sign(session, data, Buffer.alloc(anchor.macBytes));
    } catch (error) {
      throw tokenGoneIfStale(error);
    }
  }

  #fingerprint(handle: Handle, mechanism: number): Buffer {
    return this.#mac({ handle, mechanism, macBytes: 64 }, FINGERPRINT_INPUT).subarray(0, FINGERPRINT_BYTES);
  }

  #load(): void {
    const { cryptoki, anchor: session } = this.#connection;
    this.#wraps = this.#find(WRAP_LABEL);
    this.#bindings = this.#find(BINDING_LABEL).map((anchor) => {
      const cmac = readNumber(cryptoki, session, anchor.handle, CKA.KEY_TYPE) === CKK.AES;
      const mechanism = cmac ? CKM.AES_CMAC : CKM.SHA256_HMAC;
      return { ...anchor, mechanism, macBytes: cmac ? 16 : 32, fingerprint: this.#fingerprint(anchor.handle, mechanism) };
    });
  }

  /** After a new log-in every handle is new; the keys must be the same. */
  #reload(): void {
    const { fingerprint } = this.#current;
    const before = { bindings: this.#bindings, wraps: this.#wraps };
    this.#load();
    if (this.#bindings.some((anchor) => anchor.fingerprint.equals(fingerprint))) return;
    this.#bindings = before.bindings;
    this.#wraps = before.wraps;
    throw new RootFault(
      'unavailable',
      'the token came back without the aegis-binding key of this root',
      'Check that it is the same token; if it was initialised anew, restore it from the HSM backup.',
    );
  }

  /** Oldest first. */
  #find(label: string): Anchor[] {
    const { cryptoki, anchor: session } = this.#connection;
    cryptoki.C_FindObjectsInit(session, [
      { type: CKA.CLASS, value: CKO.SECRET_KEY },
      { type: CKA.TOKEN, value: true },
      { type: CKA.LABEL, value: label },
    ]);
    let handles: Handle[];
    try {
      handles = cryptoki.C_FindObjects(session, MAX_ANCHORS);
    } finally {
      cryptoki.C_FindObjectsFinal(session);
    }
    return handles
      .map((handle) => ({ handle, id: readAttribute(cryptoki, session, handle, CKA.ID) }))
      .filter((anchor): anchor is Anchor => anchor.id?.length === ID_BYTES)
      .sort((a, b) => Buffer.compare(a.id, b.id));
  }

  async #settle(label: string, create: (id: Buffer) => boolean): Promise<void> {
    let mine: Buffer | undefined;
    let seen = '';
    for (let round = 0; round < MAX_SETTLE_ROUNDS; round += 1) {
      const found = this.#find(label);
      const [oldest] = found;
      if (oldest === undefined) {
        mine = newId();
        if (!create(mine)) return;
      } else {
        const own = mine;
        const lost = own === undefined || oldest.id.equals(own) ? undefined : found.find(({ id }) => id.equals(own));
        if (lost !== undefined) this.#connection.cryptoki.C_DestroyObject(this.#connection.anchor, lost.handle);
        // Clocks of several machines differ: young is measured both ways.
        if (Math.abs(Date.now() - bornMs(oldest.id)) >= YOUNG_MS) return;
        const now = found
          .filter((anchor) => anchor !== lost)
          .map(({ id }) => id.toString('hex'))
          .join();
        if (now === seen) return;
        seen = now;
      }
      await sleep(SETTLE_MS);
    }
  }

  #createBinding(id: Buffer): boolean {
    const { cryptoki, anchor: session } = this.#connection;
    try {
      cryptoki.C_GenerateKey(
        session,
        { mechanism: CKM.GENERIC_SECRET_KEY_GEN },
        anchorTemplate(BINDING_LABEL, id, CKK.GENERIC_SECRET, 'sign'),
      );
    } catch (error) {
      if (ckrOf(error) === undefined) throw error;
      cryptoki.C_GenerateKey(session, { mechanism: CKM.AES_KEY_GEN }, anchorTemplate(BINDING_LABEL, id, CKK.AES, 'sign'));
    }
    return true;
  }

  #createWrap(id: Buffer): boolean {
    const { cryptoki, anchor: session } = this.#connection;
    try {
      cryptoki.C_GenerateKey(session, { mechanism: CKM.AES_KEY_GEN }, anchorTemplate(WRAP_LABEL, id, CKK.AES, 'wrap'));
      return true;
    } catch (error) {
      // Without a wrapping key every key is a token object; the probe then reports what that leaves.
      if (ckrOf(error) === undefined || this.#connection.config.storage === 'wrapped') throw error;
      return false;
    }
  }
}

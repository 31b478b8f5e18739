import type { BoundKey, KeyBinding } from '../contract.js';
import { RootFault } from '../fault.js';
import { type ByteReader, type ByteWriter, WireError } from './bytes.js';
import { BINDING, type KeyPorts } from './call-codec.js';

/**
 * A key's reference and binding cross to a host once; afterwards a slot number stands for both. The sender decides which
 * slot holds what and may give a slot to another key at any time; frames arrive in order, so both ends always agree.
 * A slot is used only for a key that equals the one sent in every byte: the numbers save work and decide nothing.
 */

/** Keys a host remembers. */
export const KEY_SLOTS = 8192;
/** A longer reference is sent each time. */
const MAX_SLOT_REFERENCE_BYTES = 16_384;

const FROM_SLOT = 0;
const INTO_SLOT = 1;
const INLINE = 2;

interface SentKey {
  readonly slot: number;
  readonly binding: KeyBinding;
  readonly reference: Buffer;
  /** Another key of the same object: an older version, or a re-sealed reference. */
  next: SentKey | undefined;
  used: boolean;
}

const sameUsage = (left: KeyBinding['usage'], right: KeyBinding['usage']): boolean => {
  if (left.length !== right.length) return false;
  for (let index = 0; index < left.length; index++) if (left[index] !== right[index]) return false;
  return true;
};

const sameKey = (sent: SentKey, key: BoundKey): boolean => {
  const { binding } = key;
  const known = sent.binding;
  return (
    known.version === binding.version &&
    known.tenant === binding.tenant &&
    known.spec === binding.spec &&
    known.exportable === binding.exportable &&
    sameUsage(known.usage, binding.usage) &&
    sent.reference.equals(key.reference)
  );
};

const copyBinding = ({ objectId, version, tenant, spec, usage, exportable }: KeyBinding): KeyBinding => ({
  objectId,
  version,
  tenant,
  spec,
  usage: [...usage],
  exportable,
});

const writeWhole = (writer: ByteWriter, key: BoundKey, keys: KeyPorts): void => {
  BINDING.write(writer, key.binding, keys);
  writer.bytes(key.reference);
};

/** The server's end. */
export class SentKeys implements KeyPorts {
  private readonly slots: (SentKey | undefined)[] = [];
  private readonly byObject = new Map<string, SentKey>();
  private readonly unsent: SentKey[] = [];
  private hand = 0;

  write(writer: ByteWriter, key: BoundKey): void {
    const { objectId } = key.binding;
    let sent = this.byObject.get(objectId);
    while (sent !== undefined && !sameKey(sent, key)) sent = sent.next;
    if (sent !== undefined) {
      sent.used = true;
      writer.u8(FROM_SLOT);
      writer.u16(sent.slot);
    } else this.send(writer, key);
  }

  private send(writer: ByteWriter, key: BoundKey): void {
    if (key.reference.length > MAX_SLOT_REFERENCE_BYTES) {
      writer.u8(INLINE);
      writeWhole(writer, key, this);
      return;
    }
    const slot = this.freeSlot();
    writer.u8(INTO_SLOT);
    writer.u16(slot);
    writeWhole(writer, key, this);
    const binding = copyBinding(key.binding);
    const next = this.byObject.get(binding.objectId);
    const sent: SentKey = { slot, binding, reference: Buffer.from(new Uint8Array(key.reference).buffer), next, used: true };
    this.slots[slot] = sent;
    this.byObject.set(binding.objectId, sent);
    this.unsent.push(sent);
  }

  /** Second chance: a key not used since the hand came by last time makes room. */
  private freeSlot(): number {
    if (this.slots.length < KEY_SLOTS) {
      this.slots.push(undefined);
      return this.slots.length - 1;
    }
    for (;;) {
      const slot = this.hand;
      this.hand = (slot + 1) % KEY_SLOTS;
      const sent = this.slots[slot];
      if (sent === undefined) return slot;
      if (!sent.used) {
        this.drop(sent);
        return slot;
      }
      sent.used = false;
    }
  }

  private drop(sent: SentKey): void {
    const { objectId } = sent.binding;
    this.slots[sent.slot] = undefined;
    let before = this.byObject.get(objectId);
    if (before === sent) {
      if (sent.next === undefined) this.byObject.delete(objectId);
      else this.byObject.set(objectId, sent.next);
      return;
    }
    while (before !== undefined && before.next !== sent) before = before.next;
    if (before !== undefined) before.next = sent.next;
  }

  /** The frame went out: its keys are known on the other side. */
  commit(): void {
    this.unsent.length = 0;
  }

  /** The frame was given up: so are the keys it would have introduced. */
  rollback(): void {
    for (const sent of this.unsent) this.drop(sent);
    this.unsent.length = 0;
  }

  read(): BoundKey {
    throw new WireError('a host never sends keys');
  }
}

const readWhole = (reader: ByteReader, keys: KeyPorts): BoundKey => {
  const binding = BINDING.read(reader, keys);
  return { binding, reference: reader.detachedBytes(reader.remaining) };
};

/** The host's end. The same object comes back for the same slot, so that a back end may cache by identity. */
export class ReceivedKeys implements KeyPorts {
  private readonly slots: (BoundKey | undefined)[] = [];

  read(reader: ByteReader): BoundKey {
    const form = reader.u8();
    if (form === INLINE) return readWhole(reader, this);
    const slot = reader.u16();
    if (form === FROM_SLOT) {
      const key = this.slots[slot];
      if (key === undefined) throw new WireError('empty key slot');
      return key;
    }
    if (form !== INTO_SLOT || slot >= KEY_SLOTS) throw new WireError('malformed key');
    const key = readWhole(reader, this);
    if (key.reference.length > MAX_SLOT_REFERENCE_BYTES) throw new WireError('reference too long for a slot');
    this.slots[slot] = key;
    return key;
  }

  write(): void {
    throw new RootFault('internal', 'a host never sends keys');
  }
}

/** For frames that can't hold keys. */
export const NO_KEYS: KeyPorts = {
  read: () => {
    throw new WireError('no key may be here');
  },
  write: () => {
    throw new RootFault('internal', 'no key may be here');
  },
};

import { inspect } from 'node:util';
import { RootFault } from './fault.js';
import { SECRET_ACCESS, type SecretAccess } from './secret-access.js';

/**
 * Bytes that only a holder of `SecretAccess` can read. Printing, JSON and inspection show the length alone.
 * The holder owns its buffer: callers hand bytes over and do not keep a copy. `zeroise` is final.
 */
export class Secret {
  #bytes: Buffer | undefined;

  private constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  /** Takes ownership: `zeroise` will overwrite `bytes` itself. */
  static own(bytes: Uint8Array): Secret {
    return new Secret(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  }

  /** Copies `bytes` and overwrites the original. */
  static take(bytes: Uint8Array): Secret {
    const copy = Buffer.alloc(bytes.length);
    copy.set(bytes);
    bytes.fill(0);
    return new Secret(copy);
  }

  get length(): number {
    return this.#bytes?.length ?? 0;
  }

  /** A view, not a copy; valid until `zeroise`. Throws `internal` without the access value or after `zeroise`. */
  bytes(access: SecretAccess): Buffer {
    if (access !== SECRET_ACCESS) throw new RootFault('internal', 'a secret was read without access');
    if (this.#bytes === undefined) throw new RootFault('internal', 'a secret was read after it was zeroised');
    return this.#bytes;
  }

  zeroise(): void {
    this.#bytes?.fill(0);
    this.#bytes = undefined;
  }

  toString(): string {
    return `[Secret: ${this.length} bytes]`;
  }
  toJSON(): string {
    return this.toString();
  }
  [inspect.custom](): string {
    return this.toString();
  }
}

/** Runs `use` and overwrites `bytes` whatever happens. */
export const withZeroised = <B extends Uint8Array, T>(bytes: B, use: (bytes: B) => T): T => {
  try {
    return use(bytes);
  } finally {
    bytes.fill(0);
  }
};

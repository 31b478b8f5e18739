import { ckrOf } from './ck-error.js';
import type { Connection } from './connection.js';
import { CKF } from './constants.js';
import type { Cryptoki, Handle, Mechanism, Template } from './cryptoki.js';

const OUT_BYTES = 4_096;

/**
 * Two throw-away sessions for the probe: one that holds the trial keys until it closes, one for the operations, replaced
 * whenever a trial fails half-way. Everything is a session object, so closing leaves nothing behind.
 */
export class Trial {
  readonly cryptoki: Cryptoki;
  readonly objects: Handle;
  readonly mechanisms: ReadonlySet<number>;
  readonly #slot: Handle;
  #session: Handle | undefined;

  constructor(connection: Connection) {
    this.cryptoki = connection.cryptoki;
    this.#slot = connection.found.slot;
    this.objects = this.#open();
    this.mechanisms = new Set(this.cryptoki.C_GetMechanismList(this.#slot));
  }

  has(mechanism: number | undefined): mechanism is number {
    return mechanism !== undefined && this.mechanisms.has(mechanism);
  }

  /** Largest and smallest key size of a mechanism, in the module's own unit. */
  range(mechanism: number): { readonly min: number; readonly max: number } | undefined {
    try {
      const { minKeySize, maxKeySize } = this.cryptoki.C_GetMechanismInfo(this.#slot, mechanism);
      return { min: minKeySize, max: maxKeySize };
    } catch {
      return undefined;
    }
  }

  /** The result, or undefined when the module refused or the answer was wrong (`attempt` returns undefined). */
  attempt<T>(attempt: (session: Handle) => T | undefined): T | undefined {
    this.#session ??= this.#open();
    try {
      return attempt(this.#session);
    } catch (error) {
      if (ckrOf(error) === undefined && !(error instanceof Error)) throw error;
      this.#close(this.#session);
      this.#session = undefined;
      return undefined;
    }
  }

  create(template: Template): Handle | undefined {
    return this.attempt(() => this.cryptoki.C_CreateObject(this.objects, template));
  }
  generate(mechanism: number, template: Template): Handle | undefined {
    return this.attempt(() => this.cryptoki.C_GenerateKey(this.objects, { mechanism }, template));
  }

  encrypt(mechanism: Mechanism, key: Handle, input: Buffer): Buffer | undefined {
    return this.attempt((session) => {
      this.cryptoki.C_EncryptInit(session, mechanism, key);
      return Buffer.from(this.cryptoki.C_Encrypt(session, input, Buffer.alloc(OUT_BYTES)));
    });
  }
  decrypt(mechanism: Mechanism, key: Handle, input: Buffer): Buffer | undefined {
    return this.attempt((session) => {
      this.cryptoki.C_DecryptInit(session, mechanism, key);
      return Buffer.from(this.cryptoki.C_Decrypt(session, input, Buffer.alloc(OUT_BYTES)));
    });
  }
  sign(mechanism: Mechanism, key: Handle, input: Buffer): Buffer | undefined {
    return this.attempt((session) => {
      this.cryptoki.C_SignInit(session, mechanism, key);
      return Buffer.from(this.cryptoki.C_Sign(session, input, Buffer.alloc(OUT_BYTES)));
    });
  }
  verify(mechanism: Mechanism, key: Handle, input: Buffer, signature: Buffer): boolean {
    return (
      this.attempt((session) => {
        this.cryptoki.C_VerifyInit(session, mechanism, key);
        return this.cryptoki.C_Verify(session, input, signature);
      }) === true
    );
  }
  wrap(mechanism: Mechanism, wrapping: Handle, key: Handle): Buffer | undefined {
    return this.attempt((session) => Buffer.from(this.cryptoki.C_WrapKey(session, mechanism, wrapping, key, Buffer.alloc(OUT_BYTES))));
  }
  unwrap(mechanism: Mechanism, unwrapping: Handle, wrapped: Buffer, template: Template): Handle | undefined {
    return this.attempt(() => this.cryptoki.C_UnwrapKey(this.objects, mechanism, unwrapping, wrapped, template));
  }
  derive(mechanism: Mechanism, base: Handle, template: Template): Handle | undefined {
    return this.attempt(() => this.cryptoki.C_DeriveKey(this.objects, mechanism, base, template));
  }

  /** Whether `parts` through update calls give what `whole` gave. */
  streamsEncrypt(mechanism: Mechanism, key: Handle, parts: readonly Buffer[], whole: Buffer): boolean {
    const streamed = this.attempt((session) => {
      this.cryptoki.C_EncryptInit(session, mechanism, key);
      const out = parts.map((part) => Buffer.from(this.cryptoki.C_EncryptUpdate(session, part, Buffer.alloc(OUT_BYTES))));
      return Buffer.concat([...out, this.cryptoki.C_EncryptFinal(session, Buffer.alloc(OUT_BYTES))]);
    });
    return streamed?.equals(whole) === true;
  }
  streamsDecrypt(mechanism: Mechanism, key: Handle, parts: readonly Buffer[], whole: Buffer): boolean {
    const streamed = this.attempt((session) => {
      this.cryptoki.C_DecryptInit(session, mechanism, key);
      const out = parts.map((part) => Buffer.from(this.cryptoki.C_DecryptUpdate(session, part, Buffer.alloc(OUT_BYTES))));
      return Buffer.concat([...out, this.cryptoki.C_DecryptFinal(session, Buffer.alloc(OUT_BYTES))]);
    });
    return streamed?.equals(whole) === true;
  }
  streamsSign(mechanism: Mechanism, key: Handle, parts: readonly Buffer[]): Buffer | undefined {
    return this.attempt((session) => {
      this.cryptoki.C_SignInit(session, mechanism, key);
      for (const part of parts) this.cryptoki.C_SignUpdate(session, part);
      return Buffer.from(this.cryptoki.C_SignFinal(session, Buffer.alloc(OUT_BYTES)));
    });
  }

  close(): void {
    if (this.#session !== undefined) this.#close(this.#session);
    this.#close(this.objects);
  }

  #open(): Handle {
    return this.cryptoki.C_OpenSession(this.#slot, CKF.SERIAL_SESSION | CKF.RW_SESSION);
  }
  #close(session: Handle): void {
    try {
      this.cryptoki.C_CloseSession(session);
    } catch {
      // Closed with the token.
    }
  }
}

import { createRequire } from 'node:module';
import type { Pkcs11RootConfig } from '../config.js';
import { RootFault } from '../fault.js';
import { ckrOf } from './ck-error.js';
import { CKF, CKR } from './constants.js';

export type Handle = Buffer;
export interface Attribute {
  readonly type: number;
  readonly value?: number | boolean | string | Buffer;
}
export type Template = Attribute[];
export interface Mechanism {
  readonly mechanism: number;
  readonly parameter?: Buffer | { readonly type: number; readonly [field: string]: unknown };
}
export interface TokenInfo {
  readonly label: string;
  readonly manufacturerID: string;
  readonly model: string;
  readonly serialNumber: string;
  readonly flags: number;
  readonly maxSessionCount: number;
  readonly firmwareVersion: { readonly major: number; readonly minor: number };
}

/**
 * The part of pkcs11js this back end uses; tests put a faulty module behind the same interface. Asynchronous forms are
 * only ever the promise ones: the callback forms free the input while the module still reads it (pkcs11js #121).
 */
export interface Cryptoki {
  load(path: string): void;
  C_Initialize(options: { flags: number; libraryParameters?: string }): void;
  C_Finalize(): void;
  C_GetInfo(): {
    readonly manufacturerID: string;
    readonly libraryDescription: string;
    readonly libraryVersion: { readonly major: number; readonly minor: number };
    readonly cryptokiVersion: { readonly major: number; readonly minor: number };
  };
  C_GetSlotList(tokenPresent: boolean): Handle[];
  C_GetTokenInfo(slot: Handle): TokenInfo;
  C_GetMechanismList(slot: Handle): number[];
  C_GetMechanismInfo(slot: Handle, mechanism: number): { readonly minKeySize: number; readonly maxKeySize: number; readonly flags: number };
  C_InitToken(slot: Handle, pin: string, label: string): unknown;
  C_InitPIN(session: Handle, pin: string): void;
  C_OpenSession(slot: Handle, flags: number): Handle;
  C_CloseSession(session: Handle): void;
  C_Login(session: Handle, userType: number, pin: string): void;
  C_SeedRandom(session: Handle, seed: Buffer): void;
  C_GenerateRandom(session: Handle, out: Buffer): Buffer;
  C_CreateObject(session: Handle, template: Template): Handle;
  C_DestroyObject(session: Handle, object: Handle): void;
  C_FindObjectsInit(session: Handle, template: Template): void;
  C_FindObjects(session: Handle, max: number): Handle[];
  C_FindObjectsFinal(session: Handle): void;
  C_GetAttributeValue(session: Handle, object: Handle, template: Template): { readonly value?: Buffer }[];
  C_GenerateKey(session: Handle, mechanism: Mechanism, template: Template): Handle;
  C_GenerateKeyPair(session: Handle, mechanism: Mechanism, publicKey: Template, privateKey: Template): KeyPairHandles;
  C_GenerateKeyPairAsync(session: Handle, mechanism: Mechanism, publicKey: Template, privateKey: Template): Promise<KeyPairHandles>;
  C_WrapKey(session: Handle, mechanism: Mechanism, wrappingKey: Handle, key: Handle, out: Buffer): Buffer;
  C_UnwrapKey(session: Handle, mechanism: Mechanism, unwrappingKey: Handle, wrapped: Buffer, template: Template): Handle;
  C_DeriveKey(session: Handle, mechanism: Mechanism, baseKey: Handle, template: Template): Handle;
  C_EncryptInit(session: Handle, mechanism: Mechanism, key: Handle): void;
  C_Encrypt(session: Handle, input: Buffer, out: Buffer): Buffer;
  C_EncryptAsync(session: Handle, input: Buffer, out: Buffer): Promise<Buffer>;
  C_EncryptUpdate(session: Handle, input: Buffer, out: Buffer): Buffer;
  C_EncryptFinal(session: Handle, out: Buffer): Buffer;
  C_DecryptInit(session: Handle, mechanism: Mechanism, key: Handle): void;
  C_Decrypt(session: Handle, input: Buffer, out: Buffer): Buffer;
  C_DecryptAsync(session: Handle, input: Buffer, out: Buffer): Promise<Buffer>;
  C_DecryptUpdate(session: Handle, input: Buffer, out: Buffer): Buffer;
  C_DecryptFinal(session: Handle, out: Buffer): Buffer;
  C_SignInit(session: Handle, mechanism: Mechanism, key: Handle): void;
  C_Sign(session: Handle, input: Buffer, out: Buffer): Buffer;
  C_SignAsync(session: Handle, input: Buffer, out: Buffer): Promise<Buffer>;
  C_SignUpdate(session: Handle, input: Buffer): void;
  C_SignFinal(session: Handle, out: Buffer): Buffer;
  C_VerifyInit(session: Handle, mechanism: Mechanism, key: Handle): void;
  C_Verify(session: Handle, input: Buffer, signature: Buffer): boolean;
  C_VerifyAsync(session: Handle, input: Buffer, signature: Buffer): Promise<boolean>;
  C_VerifyUpdate(session: Handle, input: Buffer): void;
  C_VerifyFinal(session: Handle, signature: Buffer): boolean;
  C_DigestInit(session: Handle, mechanism: Mechanism): void;
  C_Digest(session: Handle, input: Buffer, out: Buffer): Buffer;
  C_DigestUpdate(session: Handle, input: Buffer): void;
  C_DigestFinal(session: Handle, out: Buffer): Buffer;
}
export interface KeyPairHandles {
  readonly publicKey: Handle;
  readonly privateKey: Handle;
}

/** Makes an unloaded Cryptoki. Throws RootFault `unavailable` when the native binding is not installed. */
export type CryptokiSource = () => Cryptoki;

const require = createRequire(import.meta.url);

/** pkcs11js is an optional dependency, compiled on installation: absent on a machine without a C++ compiler. */
export const pkcs11jsSource: CryptokiSource = () => {
  try {
    const binding = require('pkcs11js') as { PKCS11: new () => Cryptoki };
    return new binding.PKCS11();
  } catch (error) {
    const why = (error as NodeJS.ErrnoException).code ?? (error as Error).message.split('\n')[0];
    throw new RootFault(
      'unavailable',
      `the native PKCS#11 binding pkcs11js is not usable (${why})`,
      'Install a C++ compiler and Python (apt-get install g++ make python3), then run: npm install pkcs11js@2.1.7 --include=optional, and npm rebuild pkcs11js.',
    );
  }
};

/**
 * A loaded module. Initialisation, log-in state and handles belong to the process (v2.40 §5.1.1, §6.7), so two roots on
 * one module in one process share this record; `epoch` tells each that the other re-initialised and its handles died.
 */
export interface Library {
  readonly path: string;
  readonly cryptoki: Cryptoki;
  readonly parameters: string | undefined;
  users: number;
  epoch: number;
}

const loaded = new WeakMap<CryptokiSource, Map<string, Library>>();

const initialise = (cryptoki: Cryptoki, parameters: string | undefined): void => {
  try {
    // Without OS_LOCKING_OK SoftHSM switches its mutexes off and p11-kit answers CKR_CANT_LOCK. pkcs11js drops the last
    // character of libraryParameters (src/pkcs11.cpp C_Initialize), hence the space.
    cryptoki.C_Initialize({ flags: CKF.OS_LOCKING_OK, ...(parameters === undefined ? {} : { libraryParameters: `${parameters} ` }) });
  } catch (error) {
    if (ckrOf(error) !== CKR.CRYPTOKI_ALREADY_INITIALIZED) throw error;
  }
};

const load = (config: Pkcs11RootConfig, source: CryptokiSource): Cryptoki => {
  // Modules read their environment while they load or initialise (nShield, YubiHSM, SoftHSM).
  for (const [name, value] of Object.entries(config.environment ?? {})) process.env[name] = value;
  const cryptoki = source();
  try {
    cryptoki.load(config.module);
  } catch (error) {
    throw new RootFault(
      'unavailable',
      `the PKCS#11 module ${config.module} cannot be loaded: ${(error as Error).message.split('\n')[0]}`,
      'Check the path, that the vendor package is installed for this architecture, and its dependencies with: ldd <module>.',
    );
  }
  return cryptoki;
};

/** Loads and initialises the module, or joins the one this process has loaded already. */
export const acquireLibrary = (config: Pkcs11RootConfig, source: CryptokiSource): Library => {
  const libraries = loaded.get(source) ?? new Map<string, Library>();
  loaded.set(source, libraries);
  const known = libraries.get(config.module);
  if (known !== undefined && known.users > 0) {
    if (known.parameters !== config.libraryParameters)
      throw new RootFault('unavailable', `${config.module} is already initialised in this process with other libraryParameters`);
    known.users += 1;
    return known;
  }
  if (known !== undefined) {
    for (const [name, value] of Object.entries(config.environment ?? {})) process.env[name] = value;
    if (known.parameters !== config.libraryParameters) libraries.set(config.module, { ...known, parameters: config.libraryParameters });
    const again = libraries.get(config.module) ?? known;
    initialise(again.cryptoki, again.parameters);
    again.epoch += 1;
    again.users = 1;
    return again;
  }
  const cryptoki = load(config, source);
  initialise(cryptoki, config.libraryParameters);
  // The record is kept for good: pkcs11js unloads the module when its object is collected, under any running thread.
  const library: Library = { path: config.module, cryptoki, parameters: config.libraryParameters, users: 1, epoch: 1 };
  libraries.set(config.module, library);
  return library;
};

/** Finalises and initialises again. Every handle of every user is dead afterwards. */
export const reinitialiseLibrary = (library: Library): void => {
  library.epoch += 1;
  try {
    library.cryptoki.C_Finalize();
  } catch {
    // Already finalised, or the module refuses while broken: C_Initialize decides.
  }
  initialise(library.cryptoki, library.parameters);
};

export const releaseLibrary = (library: Library): void => {
  library.users -= 1;
  if (library.users > 0) return;
  library.epoch += 1;
  try {
    library.cryptoki.C_Finalize();
  } catch {
    // Nothing is left to release.
  }
};

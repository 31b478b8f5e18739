import { createHash, createHmac, randomBytes, type ScryptOptions, scrypt, timingSafeEqual } from 'node:crypto';
import type { DeviceIdentifiers, LoginKind, MessageCredential } from '../domain/index.js';
import { fail } from '../domain/index.js';
import type { SettingStore } from '../storage/ports.js';

/**
 * Passwords and the like, for wires whose messages carry them (KMIP header credentials). Kept as settings of the tenant, named by a
 * hash of kind and login. A password is stored as its scrypt value; a hashed password needs S1 and S2 of KMIP 2.1 §9.9.5 and a one-time
 * password its seed, which is why each is a kind of its own that an administrator sets only where a client needs it.
 */
export interface StoredLogin {
  readonly principalId: string;
  readonly kind: LoginKind;
  readonly password?: { readonly salt: string; readonly hash: string };
  /** S1 and S2 with SHA-256, hex. */
  readonly hashed?: { readonly s1: string; readonly s2: string };
  /** Base64. */
  readonly otpSeed?: string;
  readonly device?: DeviceIdentifiers;
}

/** 32 MiB and some 60 ms: the memory-hard setting OWASP names for interactive use is N = 2^17 with less parallel work to bear. */
const SCRYPT: ScryptOptions & { N: number; r: number; p: number } = { N: 2 ** 15, r: 8, p: 1, maxmem: 64 * 1024 * 1024 };
const HASH_BYTES = 32;
const SALT_BYTES = 16;
const MAX_IN_FLIGHT = 4;
const VERIFIED_MS = 60_000;
const MAX_VERIFIED = 4_096;
const OTP_STEP_SECONDS = 30;
const OTP_DIGITS = 6;
const HASHED_WINDOW_US = 300_000_000n;

export const loginSetting = (kind: LoginKind, login: string): string =>
  `login:${createHash('sha256').update(`${kind}\0${login}`).digest('hex')}`;

const derive = (password: string, salt: Buffer): Promise<Buffer> =>
  new Promise((resolve, reject) => {
    scrypt(password.normalize('NFC'), salt, HASH_BYTES, SCRYPT, (error, key) => (error === null ? resolve(key) : reject(error)));
  });

export async function storePassword(password: string): Promise<NonNullable<StoredLogin['password']>> {
  const salt = randomBytes(SALT_BYTES);
  return { salt: salt.toString('base64'), hash: (await derive(password, salt)).toString('base64') };
}

const sha256 = (...parts: readonly (string | Uint8Array)[]): Buffer => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
};
export const storeHashed = (login: string, password: string): NonNullable<StoredLogin['hashed']> => ({
  s1: sha256(login, password).toString('hex'),
  s2: sha256(password, login).toString('hex'),
});

const stampBytes = (timestamp: bigint): Buffer => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64BE(BigInt.asIntN(64, timestamp));
  return bytes;
};
function serverProof(stored: StoredLogin, timestamp: bigint): Uint8Array | undefined {
  if (stored.hashed === undefined) return undefined;
  const s1 = Buffer.from(stored.hashed.s1, 'hex');
  return new Uint8Array(sha256(stampBytes(timestamp), s1, sha256(Buffer.from(stored.hashed.s2, 'hex'))));
}

const same = (a: Uint8Array, b: Uint8Array): boolean => a.length === b.length && timingSafeEqual(a, b);

/** RFC 6238 with the parameters of RFC 4226 §5.3: SHA-1, 6 digits. */
function otpAt(seed: Uint8Array, step: number): string {
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(step));
  const mac = createHmac('sha1', seed).update(counter).digest();
  const offset = (mac[mac.length - 1] as number) & 0xf;
  return String((mac.readUInt32BE(offset) & 0x7fffffff) % 10 ** OTP_DIGITS).padStart(OTP_DIGITS, '0');
}

export interface ProvenLogin {
  readonly principalId: string;
  /** Hash(timestamp ‖ S1 ‖ Hash(S2)): the server knows the hashed password too (KMIP 2.1 §8.2, Server Hashed Password). */
  readonly serverProof?: Uint8Array;
}

export interface Logins {
  /**
   * What the credential proves in a tenant; nothing when it proves nothing. Takes the same time for a login that is not there. One-time
   * credentials are good for one request, which may make several calls: it is known by its id, which the plane gives, not the client.
   */
  verify(
    tenant: string,
    credential: Exclude<MessageCredential, { kind: 'token' }>,
    facts: { readonly withCertificate: boolean; readonly requestId: string; readonly now: number },
  ): Promise<ProvenLogin | undefined>;
}

export function makeLogins(settings: Pick<SettingStore, 'setting'>): Logins {
  /** Passwords that were right a moment ago, by a keyed hash, so that a client that sends one with every request does not pay each time. */
  const processKey = randomBytes(32);
  const verified = new Map<string, number>();
  /** Last one-time step and last hashed timestamp used, by setting name: each is good once. */
  const lastUsed = new Map<string, { readonly value: bigint; readonly requestId: string }>();
  let inFlight = 0;

  const remember = <V>(map: Map<string, V>, key: string, value: V): void => {
    map.delete(key);
    const [oldest] = map.keys();
    if (map.size >= MAX_VERIFIED && oldest !== undefined) map.delete(oldest);
    map.set(key, value);
  };
  const once = (key: string, value: bigint, requestId: string): boolean => {
    const before = lastUsed.get(key);
    if (before !== undefined && value === before.value) return requestId === before.requestId;
    if (before !== undefined && value < before.value) return false;
    remember(lastUsed, key, { value, requestId });
    return true;
  };

  const passwordHolds = async (stored: StoredLogin['password'], given: string, now: number): Promise<boolean> => {
    const salt = stored === undefined ? Buffer.alloc(SALT_BYTES) : Buffer.from(stored.salt, 'base64');
    const hash = stored === undefined ? Buffer.alloc(HASH_BYTES) : Buffer.from(stored.hash, 'base64');
    const key = createHmac('sha256', processKey).update(hash).update(given).digest('hex');
    if (stored !== undefined && (verified.get(key) ?? 0) > now) return true;
    if (inFlight >= MAX_IN_FLIGHT)
      throw fail('overloaded', 'Too many passwords are being checked.', { retryAfterMs: 1_000, next: 'Try again in a moment.' });
    inFlight += 1;
    try {
      const holds = same(await derive(given, salt), hash) && stored !== undefined;
      if (holds) remember(verified, key, now + VERIFIED_MS);
      return holds;
    } finally {
      inFlight -= 1;
    }
  };

  const otpHolds = (stored: StoredLogin | undefined, name: string, code: string, now: number, requestId: string): boolean => {
    const seed = Buffer.from(stored?.otpSeed ?? '', 'base64');
    const step = Math.floor(now / 1_000 / OTP_STEP_SECONDS);
    // One step either way for clocks that differ (RFC 6238 §5.2); each step is good once.
    const found = [step, step - 1, step + 1].find((at) => same(sha256(otpAt(seed, at)), sha256(code)));
    return stored?.otpSeed !== undefined && found !== undefined && once(name, BigInt(found), requestId);
  };

  const hashedHolds = (
    stored: StoredLogin | undefined,
    name: string,
    given: Extract<MessageCredential, { kind: 'hashed-password' }>,
    now: number,
    requestId: string,
  ): boolean => {
    if (given.hash !== 'sha256' || given.value.length !== 2 * HASH_BYTES) return false;
    const s1 = Buffer.from(stored?.hashed?.s1 ?? '', 'hex');
    const s2 = Buffer.from(stored?.hashed?.s2 ?? '', 'hex');
    const expected = Buffer.concat([sha256(s1, stampBytes(given.timestamp)), s2]);
    const age = BigInt(now) * 1_000n - given.timestamp;
    if (stored?.hashed === undefined || !same(expected, given.value)) return false;
    return age <= HASHED_WINDOW_US && age >= -HASHED_WINDOW_US && once(name, given.timestamp, requestId);
  };

  const deviceHolds = (stored: StoredLogin | undefined, given: Extract<MessageCredential, { kind: 'device' }>): boolean =>
    (['deviceIdentifier', 'networkIdentifier', 'machineIdentifier', 'mediaIdentifier'] as const).every(
      (name) => stored?.device?.[name] === undefined || stored.device[name] === given[name],
    );

  return {
    async verify(tenant, credential, { withCertificate, requestId, now }) {
      const setting = loginSetting(credential.kind, credential.login);
      const name = `${tenant}/${setting}`;
      const stored = ((await settings.setting(tenant, setting)) ?? undefined) as StoredLogin | undefined;
      const holds = await (async (): Promise<boolean> => {
        switch (credential.kind) {
          case 'password':
            return passwordHolds(stored?.password, credential.password, now);
          case 'one-time-password':
            if (stored?.password !== undefined && !(await passwordHolds(stored.password, credential.password ?? '', now))) return false;
            return otpHolds(stored, name, credential.code, now, requestId);
          case 'hashed-password':
            return hashedHolds(stored, name, credential, now, requestId);
          case 'device':
            if (stored === undefined || !deviceHolds(stored, credential)) return false;
            // Serial numbers are printed on the device: without a password they only narrow what a certificate proves.
            if (stored.password === undefined) return withCertificate;
            return passwordHolds(stored.password, credential.password ?? '', now);
        }
      })();
      if (!holds || stored === undefined) return undefined;
      const proof = credential.kind === 'hashed-password' ? serverProof(stored, credential.timestamp) : undefined;
      return { principalId: stored.principalId, ...(proof === undefined ? {} : { serverProof: proof }) };
    },
  };
}

import type { Fields, RequestOptions } from '@aegis/kmip-ttlv';
import type { Credential, MessageCredential } from '../../domain/index.js';
import { refuse } from './contract.js';
import type { Tickets } from './tickets.js';

// Credentials of the request header (KMIP 1.4 §2.1.2, 2.1 §9.9): each becomes one that the guard's identifier checks; none is ignored.

const text = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined);
const wrong = () => refuse('AuthenticationNotSuccessful', 'The credential in the header is not complete.');

type Reader = (value: Fields, tickets: Tickets) => MessageCredential;

/** The serial number names a device; without one, the first identifier that it gives does. */
const device: Reader = (value) => {
  const identifiers = {
    deviceIdentifier: text(value['DeviceIdentifier']),
    networkIdentifier: text(value['NetworkIdentifier']),
    machineIdentifier: text(value['MachineIdentifier']),
    mediaIdentifier: text(value['MediaIdentifier']),
  };
  const given = Object.fromEntries(Object.entries(identifiers).filter(([, one]) => one !== undefined)) as Record<string, string>;
  const login = text(value['DeviceSerialNumber']) ?? Object.values(given)[0];
  if (login === undefined) throw wrong();
  const password = text(value['Password']);
  return { kind: 'device', login, ...given, ...(password === undefined ? {} : { password }) };
};

const usernameAndPassword: Reader = (value) => {
  const login = text(value['Username']);
  if (login === undefined) throw wrong();
  // The password is optional on the wire; a user without one proves nothing.
  return { kind: 'password', login, password: text(value['Password']) ?? '' };
};

const oneTimePassword: Reader = (value) => {
  const login = text(value['Username']);
  const code = text(value['OneTimePassword']);
  if (login === undefined || code === undefined) throw wrong();
  const password = text(value['Password']);
  return { kind: 'one-time-password', login, code, ...(password === undefined ? {} : { password }) };
};

const HASHES: Readonly<Record<string, 'sha256' | 'sha384' | 'sha512'>> = { SHA_256: 'sha256', SHA_384: 'sha384', SHA_512: 'sha512' };
const hashedPassword: Reader = (value) => {
  const login = text(value['Username']);
  const stamp = value['TimeStamp'];
  const timestamp = typeof stamp === 'bigint' ? stamp : (stamp as { value?: unknown } | undefined)?.value;
  const hashed = value['HashedPassword'];
  const hash = HASHES[String(value['HashingAlgorithm'] ?? 'SHA_256')];
  if (login === undefined || typeof timestamp !== 'bigint' || !(hashed instanceof Uint8Array) || hash === undefined) throw wrong();
  return { kind: 'hashed-password', login, timestamp, hash, value: Uint8Array.from(hashed) };
};

const ticket: Reader = (value, tickets) => {
  const bytes = (value['Ticket'] as Fields | undefined)?.['TicketValue'];
  const token = bytes instanceof Uint8Array ? tickets.open(bytes, true) : undefined;
  if (token === undefined) throw refuse('InvalidTicket', 'The ticket is spent or not known here.');
  return { kind: 'token', token };
};

/** No verifier of attestations is configured anywhere: what cannot be verified is refused. */
const attestation: Reader = () => {
  throw refuse('AttestationFailed', 'This server verifies no attestation.');
};

const READERS: Readonly<Record<string, Reader>> = {
  UsernameAndPassword: usernameAndPassword,
  Password: usernameAndPassword,
  Device: device,
  OneTimePassword: oneTimePassword,
  HashedPassword: hashedPassword,
  Ticket: ticket,
  Attestation: attestation,
};

/** A user name and a password of no characters: what clients send whose settings were left empty (PyKMIP). It presents nothing. */
const isBlank = (credential: Fields): boolean => {
  const value = credential['CredentialValue'] as Fields | undefined;
  return (
    READERS[String(credential['CredentialType'])] === usernameAndPassword && value?.['Username'] === '' && (value['Password'] ?? '') === ''
  );
};

/** What the guard is given: the connection's certificate alone, or together with what the header presents. @throws KmipRefusal */
export function credentialOf(connection: Credential, options: Pick<RequestOptions, 'credentials'>, tickets: Tickets): Credential {
  const given = options.credentials.filter((one) => !isBlank(one));
  if (given.length === 0) return connection;
  const presented = given.map((one) => {
    const reader = READERS[String(one['CredentialType'])];
    const value = one['CredentialValue'];
    if (reader === undefined || typeof value !== 'object' || value === null)
      throw refuse('AuthenticationNotSuccessful', 'This server does not know such a credential.');
    return reader(value as Fields, tickets);
  });
  return { kind: 'message', presented, ...(connection.kind === 'certificate' ? { certificate: connection } : {}) };
}

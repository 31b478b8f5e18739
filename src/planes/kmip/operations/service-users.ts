import { X509Certificate } from 'node:crypto';
import type { Fields, KmipAttribute } from '@aegis/kmip-ttlv';
import { type KmipCall, type KmipHandler, refuse } from '../contract.js';

// KMIP 3.0 (draft): users, groups and credentials. A user is a principal of the caller's tenant; a credential is a managed object that a user links to.

/** Marks the objects that stand for what the domain has no object type for. */
const CREDENTIAL_TYPE = 'kmip:credential-type';
const GROUP = 'kmip:group';

const attributesOf = (payload: Fields): readonly KmipAttribute[] => (payload['Attributes'] ?? []) as readonly KmipAttribute[];
const standard = (payload: Fields, name: string): readonly unknown[] =>
  attributesOf(payload)
    .filter((one) => one.vendor === undefined && one.name === name)
    .map((one) => one.value);

const nameOf = (payload: Fields): string | undefined => {
  const [name] = standard(payload, 'Name');
  return typeof name === 'object' && name !== null ? String((name as Fields)['NameValue']) : undefined;
};

/** The secret of a credential as the managed object keeps it. */
async function createCredential(payload: Fields, call: KmipCall): Promise<Fields> {
  const type = payload['CredentialType'];
  const name = nameOf(payload);
  const common = { ...(name === undefined ? {} : { names: [name] }), attributes: { [CREDENTIAL_TYPE]: String(type) } };
  if (type === 'Certificate') {
    const material = (payload['Certificate'] as Fields | undefined)?.['CertificateValue'] as Uint8Array | undefined;
    if (material === undefined) throw refuse('InvalidField', 'A credential of type Certificate has a Certificate.');
    const made = await call.call('register', { ...common, type: 'certificate', format: 'x509', material: Uint8Array.from(material) });
    return { UniqueIdentifier: made.object.id };
  }
  if (type !== 'Password' && type !== 'UsernameAndPassword')
    throw refuse('FeatureNotSupported', 'Credentials are made of type Certificate or Password.');
  const password = (payload['PasswordCredential'] as Fields | undefined)?.['Password'];
  if (typeof password !== 'string' || password === '') throw refuse('InvalidField', 'A Password Credential has a Password.');
  const material = new Uint8Array(Buffer.from(password, 'utf8'));
  const made = await call.call('register', { ...common, type: 'secret-data', format: 'raw', material, exportable: true });
  return { UniqueIdentifier: made.object.id };
}

interface LinkedCredentials {
  fingerprint?: string;
  password?: string;
}

async function linkedCredentials(payload: Fields, call: KmipCall): Promise<LinkedCredentials> {
  const found: LinkedCredentials = {};
  for (const link of standard(payload, 'CredentialLink')) {
    const key = typeof link === 'string' ? link : String((link as { value?: unknown }).value ?? '');
    const { object } = await call.call('get-object', { key });
    const type = object.attributes[CREDENTIAL_TYPE];
    if (type === undefined) throw refuse('InvalidField', 'A Credential Link names a credential.');
    if (object.type === 'certificate' && object.content !== undefined)
      found.fingerprint = new X509Certificate(object.content).fingerprint256.replaceAll(':', '').toLowerCase();
    else found.password = Buffer.from((await call.call('export-key', { key })).material).toString('utf8');
  }
  return found;
}

/** A new principal has the role `user`; an administrator gives it others. */
async function createUser(payload: Fields, call: KmipCall): Promise<Fields> {
  const name = nameOf(payload);
  if (name === undefined) throw refuse('InvalidField', 'A user has a Name.');
  const { fingerprint, password } = await linkedCredentials(payload, call);
  const certificate = fingerprint === undefined ? {} : { certificate: { fingerprint } };
  const principal = await call.call('create-principal', { kind: 'service', name, roles: ['user'], ...certificate });
  if (password !== undefined)
    await call.call('set-login', {
      principalId: principal.id,
      kind: 'password',
      login: name,
      password: new Uint8Array(Buffer.from(password, 'utf8')),
    });
  return { UniqueIdentifier: principal.id };
}

async function createGroup(payload: Fields, call: KmipCall): Promise<Fields> {
  const name = nameOf(payload);
  if (name === undefined) throw refuse('InvalidField', 'A group has a Name.');
  const material = new Uint8Array(Buffer.from(name, 'utf8'));
  const made = await call.call('register', {
    names: [name],
    type: 'opaque-object',
    format: 'opaque',
    material,
    attributes: { [GROUP]: true },
  });
  return { UniqueIdentifier: made.object.id };
}

export const USER_HANDLERS: Readonly<Record<string, KmipHandler>> = {
  CreateCredential: createCredential,
  CreateUser: createUser,
  CreateGroup: createGroup,
};

import { KEY_SPECS, type KeySpec } from '@aegis/rot-spi/vocabulary';
import { Type } from '@sinclair/typebox';
import { fail, type ObjectType, type OperationName, type OperationRequest, type OperationResponse } from '../../../domain/index.js';
import { bytes, bytesOut, closed, int, toBase64, word } from '../schema-kinds.js';
import {
  AlgorithmOut,
  algorithm,
  ByKey,
  Hash,
  Key,
  KeyRef,
  KeyVersionNumber,
  KeyWithCiphertext,
  newObjectFields,
  ObjectKind,
  Spec,
} from '../shapes.js';
import { given, keyView, toNewObject, toPem } from '../views.js';
import { keyLocation } from './key-parts.js';
import { jsonRoute, type Route } from './route.js';

/** Using keys: the rows for cryptography. Answers name the key and the version that made them. */

const version = Type.Optional(KeyVersionNumber);
const cipherAlgorithm = Type.Optional(algorithm('Cipher; default by the key (aes-gcm for AES, rsa-oaep-sha256 for RSA).', 'cipher'));
const cipherFields = {
  aad: Type.Optional(bytes('Additional authenticated data.')),
  iv: Type.Optional(bytes('IV or nonce; generated when absent (encrypt).')),
  tagLength: Type.Optional(int(4, 16, { description: 'Authentication tag length in bytes.' })),
  label: Type.Optional(bytes('OAEP label.')),
  mgf1Hash: Type.Optional(Hash),
};
interface CipherIn {
  readonly aad?: Uint8Array;
  readonly iv?: Uint8Array;
  readonly tagLength?: number;
  readonly label?: Uint8Array;
  readonly mgf1Hash?: OperationRequest<'encrypt'>['mgf1Hash'];
}
const cipher = (body: CipherIn) => ({
  ...given('aad', body.aad),
  ...given('iv', body.iv),
  ...given('tagLength', body.tagLength),
  ...given('label', body.label),
  ...given('mgf1Hash', body.mgf1Hash as NonNullable<CipherIn['mgf1Hash']> | undefined),
});
const cipherFormat = Type.Optional(
  word(['envelope', 'raw'] as const, {
    description: '`envelope` (default) names key, version and algorithm inside the ciphertext; `raw` is the bare output of the algorithm.',
  }),
);

/** What is signed: the message itself, or its digest. */
const messageFields = {
  message: Type.Optional(bytes('The message itself. Give this or `digest`.')),
  digest: Type.Optional(bytes('The digest of the message, already computed with the algorithm’s hash. Give this or `message`.')),
};
function signedData(body: { readonly message?: Uint8Array; readonly digest?: Uint8Array }): { data: Uint8Array; prehashed?: true } {
  if (body.message !== undefined && body.digest === undefined) return { data: body.message };
  if (body.digest !== undefined && body.message === undefined) return { data: body.digest, prehashed: true };
  throw fail(
    'invalid-field',
    body.message === undefined ? 'Nothing to sign: `message` or `digest` is required' : '`message` and `digest` exclude each other',
    {
      field: body.message === undefined ? 'message' : 'digest',
      next: 'Send `message` with the base64 of the message, or `digest` with the base64 of its hash.',
    },
  );
}
const signatureFields = {
  algorithm: Type.Optional(algorithm('Signature algorithm; default by the key (ecdsa-sha256 for ec-p256 …).', 'signature')),
  saltLength: Type.Optional(int(0, 512, { description: 'PSS salt length in bytes; default the hash length.' })),
  mgf1Hash: Type.Optional(Hash),
  encoding: Type.Optional(word(['der', 'p1363'] as const, { description: 'ECDSA: ASN.1 DER (default) or fixed-length r‖s.' })),
  context: Type.Optional(bytes('Context of Ed448, ML-DSA, SLH-DSA.', { maxLength: 344 })),
  version,
};
type SignIn = Partial<Pick<OperationRequest<'sign'>, 'algorithm' | 'saltLength' | 'mgf1Hash' | 'encoding' | 'context' | 'version'>>;
const signature = (body: SignIn) => ({
  ...given('algorithm', body.algorithm),
  ...given('saltLength', body.saltLength),
  ...given('mgf1Hash', body.mgf1Hash),
  ...given('encoding', body.encoding),
  ...given('context', body.context),
  ...given('version', body.version),
});

const madeBy = { algorithm: AlgorithmOut, keyId: Type.String(), keyVersion: Type.Integer() };
const checkedBy = {
  valid: Type.Boolean({ description: 'A mismatch is an answer, not an error.' }),
  algorithm: AlgorithmOut,
  keyId: Type.String(),
  keyVersion: Type.Optional(Type.Integer()),
};
const made = (r: { readonly objectId: string; readonly version: number; readonly algorithm: string }) => ({
  algorithm: r.algorithm,
  keyId: r.objectId,
  keyVersion: r.version,
});
const checked = (r: { readonly objectId: string; readonly version?: number; readonly algorithm: string; readonly valid: boolean }) => ({
  valid: r.valid,
  algorithm: r.algorithm,
  keyId: r.objectId,
  ...given('keyVersion', r.version),
});

const Encrypted = Type.Object(
  {
    ciphertext: bytesOut('The ciphertext.'),
    iv: Type.Optional(bytesOut('IV, for raw format.')),
    tag: Type.Optional(bytesOut('Tag, for raw format.')),
    ...madeBy,
  },
  { title: 'Encrypted' },
);
const Decrypted = Type.Object({ plaintext: bytesOut('The plaintext.'), ...madeBy }, { title: 'Decrypted' });
const decrypted = (r: OperationResponse<'decrypt'>) => ({ plaintext: toBase64(r.plaintext), ...made(r) });

const typeOf = (spec: KeySpec): ObjectType =>
  (({ symmetric: 'symmetric-key', pair: 'private-key', secret: 'secret-data' }) as const)[KEY_SPECS[spec].shape];

const derivation = {
  salt: Type.Optional(bytes('Salt.')),
  info: Type.Optional(bytes('HKDF info; SP 800-108 label ‖ 0x00 ‖ context.')),
  iterations: Type.Optional(int(1, 100_000_000, { description: 'PBKDF2 iterations.' })),
  fixedInput: Type.Optional(bytes('SP 800-108 fixed input data, given whole.')),
  data: Type.Optional(bytes('Data of hash-, hmac- and encrypt-derive.')),
  hash: Type.Optional(Hash),
  cipher: Type.Optional(algorithm('Cipher of encrypt-derive.', 'cipher')),
  iv: Type.Optional(bytes('IV of encrypt-derive.')),
};
type DerivationIn = Partial<Omit<OperationRequest<'agree'>, 'key' | 'algorithm'>>;
const derive = (body: DerivationIn) => ({
  ...given('salt', body.salt),
  ...given('info', body.info),
  ...given('iterations', body.iterations),
  ...given('fixedInput', body.fixedInput),
  ...given('data', body.data),
  ...given('hash', body.hash),
  ...given('cipher', body.cipher),
  ...given('iv', body.iv),
});
const newKeyLength = Type.Optional(int(1, 65_536, { description: 'Length in bytes where the specification leaves it open.' }));

const forKey = <O extends OperationName>(operation: O) =>
  ({ id: operation, method: 'POST', path: `/v1/keys/{id}/${operation}`, group: 'use', operation, params: ByKey }) as const;
const example = (body: unknown, response?: unknown) => ({ params: { id: 'invoice' }, body, ...given('response', response) });
const subjectFields = {
  subject: Type.String({ minLength: 1, maxLength: 1024, description: 'RFC 4514, e.g. `CN=app,O=Bank`.' }),
  subjectAltNames: Type.Optional(
    Type.Array(Type.String({ minLength: 1, maxLength: 512 }), {
      maxItems: 100,
      description: '`DNS:name`, `IP:address`, `URI:…`, `email:…`.',
    }),
  ),
};

export const USE_ROUTES: readonly Route[] = [
  jsonRoute({
    ...forKey('sign'),
    summary: 'Sign a message or a digest',
    body: closed({ ...messageFields, ...signatureFields }),
    response: Type.Object({ signature: bytesOut('The signature.'), ...madeBy }, { title: 'Signature' }),
    success: 200,
    toRequest: ({ params, body }) => ({ key: params.id, ...signedData(body), ...signature(body) }),
    fromResponse: (r) => ({ signature: toBase64(r.signature), algorithm: r.algorithm, keyId: r.objectId, keyVersion: r.version }),
    example: example(
      { message: 'aGVsbG8=', algorithm: 'ecdsa-sha256' },
      { signature: 'MEUCIQ==', algorithm: 'ecdsa-sha256', keyId: '018f2f4e-7c1a-7d3e-9b1a-2f6f5b0c9a10', keyVersion: 1 },
    ),
    cli: 'aegis sign --key invoice --in FILE --out FILE.sig',
  }),
  jsonRoute({
    ...forKey('verify'),
    summary: 'Verify a signature',
    description: 'Without `version` the current and then the superseded versions are tried.',
    body: closed({ ...messageFields, signature: bytes('The signature.'), ...signatureFields }),
    response: Type.Object(checkedBy, { title: 'Verification' }),
    success: 200,
    toRequest: ({ params, body }) => ({ key: params.id, ...signedData(body), signature: body.signature, ...signature(body) }),
    fromResponse: checked,
    example: example(
      { message: 'aGVsbG8=', signature: 'MEUCIQ==', algorithm: 'ecdsa-sha256' },
      { valid: true, algorithm: 'ecdsa-sha256', keyId: '018f2f4e-7c1a-7d3e-9b1a-2f6f5b0c9a10', keyVersion: 1 },
    ),
    cli: 'aegis verify --key invoice --in FILE --signature FILE.sig',
  }),
  jsonRoute({
    ...forKey('encrypt'),
    summary: 'Encrypt',
    body: closed({ plaintext: bytes('The plaintext.'), algorithm: cipherAlgorithm, ...cipherFields, format: cipherFormat, version }),
    response: Encrypted,
    success: 200,
    toRequest: ({ params, body }) => ({
      key: params.id,
      plaintext: body.plaintext,
      ...given('algorithm', body.algorithm),
      ...cipher(body),
      ...given('format', body.format),
      ...given('version', body.version),
    }),
    fromResponse: (r) => ({
      ciphertext: toBase64(r.ciphertext),
      ...given('iv', r.iv === undefined ? undefined : toBase64(r.iv)),
      ...given('tag', r.tag === undefined ? undefined : toBase64(r.tag)),
      ...made(r),
    }),
    example: example({ plaintext: 'aGVsbG8=', aad: 'Y29udGV4dA==' }),
    cli: 'aegis encrypt --key vault-key --in FILE --out FILE.enc',
  }),
  jsonRoute({
    ...forKey('decrypt'),
    summary: 'Decrypt',
    body: closed({
      ciphertext: bytes('The ciphertext.'),
      tag: Type.Optional(bytes('Tag, for raw format.')),
      algorithm: cipherAlgorithm,
      ...cipherFields,
      format: cipherFormat,
      version,
    }),
    response: Decrypted,
    success: 200,
    toRequest: ({ params, body }) => ({
      key: params.id,
      ciphertext: body.ciphertext,
      ...given('tag', body.tag),
      ...given('algorithm', body.algorithm),
      ...cipher(body),
      ...given('format', body.format),
      ...given('version', body.version),
    }),
    fromResponse: decrypted,
    example: example({ ciphertext: 'QUVHMQ==', aad: 'Y29udGV4dA==' }),
    cli: 'aegis decrypt --in FILE.enc --out FILE.dec',
  }),
  jsonRoute({
    id: 'decrypt-envelope',
    method: 'POST',
    path: '/v1/decrypt',
    group: 'use',
    operation: 'decrypt',
    summary: 'Decrypt an envelope',
    description: 'The envelope names key and version itself.',
    body: closed({ ciphertext: bytes('The envelope.'), aad: Type.Optional(bytes('Additional authenticated data.')) }),
    response: Decrypted,
    success: 200,
    toRequest: ({ body }) => ({ ciphertext: body.ciphertext, ...given('aad', body.aad) }),
    fromResponse: decrypted,
    example: { body: { ciphertext: 'QUVHMQ==' } },
    cli: 'aegis decrypt --in FILE.enc --out FILE.dec',
  }),
  jsonRoute({
    ...forKey('mac'),
    summary: 'Make a message authentication code',
    body: closed({ message: bytes('The message.'), algorithm: Type.Optional(algorithm('MAC; default by the key.', 'mac')), version }),
    response: Type.Object({ mac: bytesOut('The code.'), ...madeBy }, { title: 'Mac' }),
    success: 200,
    toRequest: ({ params, body }) => ({
      key: params.id,
      data: body.message,
      ...given('algorithm', body.algorithm),
      ...given('version', body.version),
    }),
    fromResponse: (r) => ({ mac: toBase64(r.mac), ...made(r) }),
    example: example({ message: 'aGVsbG8=', algorithm: 'hmac-sha256' }),
    cli: 'aegis mac --key mac-key --in FILE',
  }),
  jsonRoute({
    ...forKey('mac-verify'),
    summary: 'Verify a message authentication code',
    body: closed({
      message: bytes('The message.'),
      mac: bytes('The code.'),
      algorithm: Type.Optional(algorithm('MAC; default by the key.', 'mac')),
      version,
    }),
    response: Type.Object(checkedBy, { title: 'Verification' }),
    success: 200,
    toRequest: ({ params, body }) => ({
      key: params.id,
      data: body.message,
      mac: body.mac,
      ...given('algorithm', body.algorithm),
      ...given('version', body.version),
    }),
    fromResponse: checked,
    example: example({ message: 'aGVsbG8=', mac: 'q83vEjRWeJA=' }),
    cli: 'aegis mac-verify --key mac-key --in FILE --mac FILE.mac',
  }),
  jsonRoute({
    ...forKey('wrap'),
    summary: 'Wrap another key under this one',
    description: '`{id}` is the wrapping key, `key` the one that is wrapped; it must be exportable.',
    body: closed({
      key: KeyRef,
      version,
      algorithm: Type.Optional(algorithm('Wrapping algorithm; default by the key.', 'wrap', 'cipher')),
      ...cipherFields,
    }),
    response: Type.Object(
      { wrapped: bytesOut('The wrapped key.'), iv: Type.Optional(bytesOut('IV.')), ...madeBy },
      { title: 'WrappedKey' },
    ),
    success: 200,
    toRequest: ({ params, body }) => ({
      key: body.key,
      wrappingKey: params.id,
      ...given('version', body.version),
      ...given('algorithm', body.algorithm),
      ...cipher(body),
    }),
    fromResponse: (r) => ({ wrapped: toBase64(r.wrapped), ...given('iv', r.iv === undefined ? undefined : toBase64(r.iv)), ...made(r) }),
    example: { params: { id: 'transport' }, body: { key: 'array-key', algorithm: 'aes-kwp' } },
    cli: 'aegis key wrap array-key --wrapping-key transport',
  }),
  jsonRoute({
    ...forKey('unwrap'),
    summary: 'Unwrap a key under this one',
    description: 'Makes a new key of it; the material stays in the root of trust.',
    body: closed({
      wrapped: bytes('The wrapped key.'),
      spec: Spec,
      type: Type.Optional(ObjectKind),
      format: Type.Optional(word(['raw', 'pkcs8'] as const, { description: 'What is wrapped. Default pkcs8 for pairs, raw otherwise.' })),
      algorithm: Type.Optional(algorithm('Wrapping algorithm; default by the key.', 'wrap', 'cipher')),
      ...cipherFields,
      ...newObjectFields,
    }),
    idempotent: true,
    response: Key,
    success: 201,
    toRequest: ({ params, body }) => ({
      ...toNewObject(body),
      unwrappingKey: params.id,
      wrapped: body.wrapped,
      spec: body.spec,
      type: body.type ?? typeOf(body.spec),
      format: body.format ?? (KEY_SPECS[body.spec].shape === 'pair' ? 'pkcs8' : 'raw'),
      ...given('algorithm', body.algorithm),
      ...cipher(body),
    }),
    fromResponse: keyView,
    headers: keyLocation,
    example: { params: { id: 'transport' }, body: { wrapped: 'H6aLChQ/ys4=', spec: 'aes-256', algorithm: 'aes-kwp', name: 'unwrapped' } },
    cli: 'aegis key unwrap unwrapped --wrapping-key transport --spec aes-256 --in FILE',
  }),
  jsonRoute({
    ...forKey('derive'),
    summary: 'Derive a key from this one',
    body: closed({
      spec: Spec,
      type: Type.Optional(ObjectKind),
      algorithm: algorithm('Derivation function.', 'derive'),
      length: newKeyLength,
      ...derivation,
      version,
      ...newObjectFields,
    }),
    idempotent: true,
    response: Key,
    success: 201,
    toRequest: ({ params, body }) => ({
      ...toNewObject(body),
      key: params.id,
      spec: body.spec,
      ...given('type', body.type),
      algorithm: body.algorithm,
      ...given('length', body.length),
      ...derive(body),
      ...given('version', body.version),
    }),
    fromResponse: keyView,
    headers: keyLocation,
    example: { params: { id: 'base-key' }, body: { spec: 'aes-256', algorithm: 'hkdf-sha256', info: 'Y29udGV4dA==', name: 'derived' } },
    cli: 'aegis key derive base-key --spec aes-256 --algorithm hkdf-sha256',
  }),
  jsonRoute({
    ...forKey('agree'),
    summary: 'Agree on a key with a peer',
    description: 'ECDH or X25519/X448 with the peer’s public key; without `kdf` the new key is the raw shared secret.',
    body: closed({
      spec: Spec,
      peerPublicKey: bytes('SubjectPublicKeyInfo DER of the peer.'),
      algorithm: Type.Optional(algorithm('Agreement; default by the key.', 'agree')),
      kdf: Type.Optional(algorithm('Derivation of the new key from the shared secret.', 'derive')),
      length: newKeyLength,
      ...derivation,
      version,
      ...newObjectFields,
    }),
    idempotent: true,
    response: Key,
    success: 201,
    toRequest: ({ params, body }) => ({
      ...toNewObject(body),
      key: params.id,
      spec: body.spec,
      peerPublicKey: body.peerPublicKey,
      ...given('algorithm', body.algorithm),
      ...given('kdf', body.kdf),
      ...given('length', body.length),
      ...derive(body),
      ...given('version', body.version),
    }),
    fromResponse: keyView,
    headers: keyLocation,
    example: {
      params: { id: 'agreement' },
      body: { spec: 'aes-256', peerPublicKey: 'MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE', kdf: 'hkdf-sha256', info: 'Y29udGV4dA==' },
    },
  }),
  jsonRoute({
    ...forKey('encapsulate'),
    summary: 'Encapsulate a fresh key (KEM)',
    description: 'Answers the new key and the ciphertext the holder of the private key decapsulates.',
    body: closed({ spec: Spec, version, ...newObjectFields }),
    idempotent: true,
    response: KeyWithCiphertext,
    success: 201,
    toRequest: ({ params, body }) => ({ ...toNewObject(body), key: params.id, spec: body.spec, ...given('version', body.version) }),
    fromResponse: (r) => ({ ...keyView(r), ciphertext: toBase64(r.ciphertext) }),
    headers: keyLocation,
    example: { params: { id: 'kem' }, body: { spec: 'aes-256' } },
  }),
  jsonRoute({
    ...forKey('decapsulate'),
    summary: 'Decapsulate a key (KEM)',
    body: closed({ spec: Spec, ciphertext: bytes('The encapsulated key.'), version, ...newObjectFields }),
    idempotent: true,
    response: Key,
    success: 201,
    toRequest: ({ params, body }) => ({
      ...toNewObject(body),
      key: params.id,
      spec: body.spec,
      ciphertext: body.ciphertext,
      ...given('version', body.version),
    }),
    fromResponse: keyView,
    headers: keyLocation,
    example: { params: { id: 'kem' }, body: { spec: 'aes-256', ciphertext: 'AAECAwQFBgcICQoLDA0ODw==' } },
  }),
  jsonRoute({
    ...forKey('generate-data-key'),
    summary: 'Generate a data key',
    description: 'Fresh random bytes, encrypted under the key as an envelope that decrypt opens, and in clear unless `plaintext` is false.',
    body: closed({
      length: Type.Optional(int(1, 1024, { description: 'Bytes. Default 32.' })),
      plaintext: Type.Optional(Type.Boolean({ description: 'Answer the key in clear too. Default true.' })),
      aad: Type.Optional(bytes('Additional authenticated data.')),
      version,
    }),
    bodyOptional: true,
    response: Type.Object(
      {
        ciphertext: bytesOut('The data key as an envelope.'),
        plaintext: Type.Optional(bytesOut('The data key in clear.')),
        keyId: Type.String(),
        keyVersion: Type.Integer(),
      },
      { title: 'DataKey' },
    ),
    success: 200,
    toRequest: ({ params, body }) => ({
      key: params.id,
      ...given('length', body.length),
      plaintext: body.plaintext ?? true,
      ...given('aad', body.aad),
      ...given('version', body.version),
    }),
    fromResponse: (r) => ({
      ciphertext: toBase64(r.ciphertext),
      ...given('plaintext', r.plaintext === undefined ? undefined : toBase64(r.plaintext)),
      keyId: r.objectId,
      keyVersion: r.version,
    }),
    example: { params: { id: 'vault-key' }, body: { length: 32 } },
  }),
  jsonRoute({
    ...forKey('re-encrypt'),
    summary: 'Re-encrypt an envelope under this key',
    description:
      '`{id}` is the key the new ciphertext is made under; the old envelope names its own key. The plaintext never leaves the root of trust.',
    body: closed({
      ciphertext: bytes('The old envelope.'),
      from: Type.Optional(KeyRef),
      fromAad: Type.Optional(bytes('Additional authenticated data of the old ciphertext.')),
      toAad: Type.Optional(bytes('Additional authenticated data of the new ciphertext.')),
    }),
    response: Type.Object({ ciphertext: bytesOut('The new envelope.'), ...madeBy }, { title: 'ReEncrypted' }),
    success: 200,
    toRequest: ({ params, body }) => ({
      to: params.id,
      ciphertext: body.ciphertext,
      ...given('from', body.from),
      ...given('fromAad', body.fromAad),
      ...given('toAad', body.toAad),
    }),
    fromResponse: (r) => ({ ciphertext: toBase64(r.ciphertext), ...made(r) }),
    example: { params: { id: 'new-key' }, body: { ciphertext: 'QUVHMQ==' } },
  }),
  jsonRoute({
    id: 'create-csr',
    method: 'POST',
    path: '/v1/keys/{id}/csr',
    group: 'use',
    operation: 'create-csr',
    summary: 'Make a certificate signing request',
    params: ByKey,
    body: closed({
      ...subjectFields,
      algorithm: Type.Optional(algorithm('Signature algorithm; default by the key.', 'signature')),
      version,
    }),
    response: Type.Object(
      { csr: Type.String({ description: 'PEM (PKCS#10).' }), keyId: Type.String(), keyVersion: Type.Integer() },
      { title: 'SigningRequest' },
    ),
    success: 200,
    toRequest: ({ params, body }) => ({
      key: params.id,
      subject: body.subject,
      ...given('subjectAltNames', body.subjectAltNames),
      ...given('algorithm', body.algorithm),
      ...given('version', body.version),
    }),
    fromResponse: (r) => ({ csr: toPem('CERTIFICATE REQUEST', r.csr), keyId: r.objectId, keyVersion: r.version }),
    example: { params: { id: 'tls' }, body: { subject: 'CN=app.bank.example,O=Bank', subjectAltNames: ['DNS:app.bank.example'] } },
    cli: 'aegis key csr tls --subject CN=app.bank.example,O=Bank',
  }),
  jsonRoute({
    id: 'self-sign',
    method: 'POST',
    path: '/v1/keys/{id}/self-sign',
    group: 'use',
    operation: 'self-sign',
    summary: 'Make a self-signed certificate',
    params: ByKey,
    body: closed({
      ...subjectFields,
      days: Type.Optional(int(1, 36_500, { description: 'Life time. Default 365.' })),
      ca: Type.Optional(Type.Boolean({ description: 'May sign other certificates. Default false.' })),
      algorithm: Type.Optional(algorithm('Signature algorithm; default by the key.', 'signature')),
      register: Type.Optional(Type.Boolean({ description: 'Keep the certificate as an object linked to the key.' })),
      version,
    }),
    idempotent: true,
    response: Type.Object(
      {
        certificate: Type.String({ description: 'PEM (X.509).' }),
        certificateId: Type.Optional(Type.String()),
        keyId: Type.String(),
        keyVersion: Type.Integer(),
      },
      { title: 'SelfSigned' },
    ),
    success: 200,
    toRequest: ({ params, body }) => ({
      key: params.id,
      subject: body.subject,
      days: body.days ?? 365,
      ...given('subjectAltNames', body.subjectAltNames),
      ...given('ca', body.ca),
      ...given('algorithm', body.algorithm),
      ...given('register', body.register),
      ...given('version', body.version),
    }),
    fromResponse: (r) => ({
      certificate: toPem('CERTIFICATE', r.certificate),
      ...given('certificateId', r.certificateId),
      keyId: r.objectId,
      keyVersion: r.version,
    }),
    example: { params: { id: 'tls' }, body: { subject: 'CN=app.bank.example', days: 90, register: true } },
    cli: 'aegis key self-sign tls --subject CN=app.bank.example --days 90',
  }),
];

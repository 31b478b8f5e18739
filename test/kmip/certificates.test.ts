import { execFileSync } from 'node:child_process';
import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Fields } from '@aegis/kmip-ttlv';
import type { KmipClient } from '@aegis/kmip-ttlv/client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type KmipTarget, startKmipTarget } from './kmip-target.js';

let target: KmipTarget;
let client: KmipClient;
let authority: X509Certificate;
const dir = mkdtempSync(join(tmpdir(), 'aegis-kmip-certificates-'));
beforeAll(async () => {
  target = await startKmipTarget();
  client = await target.connect();
  const made = await target.admin('create-authority', { subject: 'CN=Test authority' });
  const { object } = await target.admin('get-object', { key: made.certificateId });
  authority = new X509Certificate(Buffer.from(object.content as Uint8Array));
  writeFileSync(join(dir, 'ca.pem'), authority.toString());
}, 60_000);
afterAll(async () => {
  await target.stop();
  rmSync(dir, { recursive: true, force: true });
});

const openssl = (...args: string[]): Buffer => execFileSync('openssl', args, { stdio: ['ignore', 'pipe', 'pipe'] });
const request = (subject: string): Buffer =>
  openssl('req', '-new', '-newkey', 'rsa:2048', '-nodes', '-keyout', '/dev/null', '-subj', subject, '-sha256', '-outform', 'DER');
const certificateOf = async (id: string): Promise<X509Certificate> => {
  const answer = (await client.request('Get', { UniqueIdentifier: id } as never)) as unknown as { Certificate: Fields };
  return new X509Certificate(Buffer.from(answer.Certificate['CertificateValue'] as Uint8Array));
};
/** OpenSSL's own verdict. */
const verifies = (certificate: X509Certificate): boolean => {
  writeFileSync(join(dir, 'leaf.pem'), certificate.toString());
  return openssl('verify', '-CAfile', join(dir, 'ca.pem'), join(dir, 'leaf.pem')).toString().includes('OK');
};
const attributesOf = async (id: string, name: string): Promise<readonly unknown[]> => {
  const answer = await client.request('GetAttributes', { UniqueIdentifier: id, AttributeReference: [{ name }] } as never);
  return (answer.Attributes as readonly { value: unknown }[]).map(({ value }) => value);
};
const reasonOf = async (run: Promise<unknown>): Promise<string> => {
  const error = (await run.then(
    () => undefined,
    (failure: unknown) => failure,
  )) as { reason?: string } | undefined;
  return String(error?.reason);
};
const publicKey = async (): Promise<string> => {
  const { publicKey: key } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const answer = await client.request('Register', {
    ObjectType: 'PublicKey',
    Attributes: [{ name: 'CryptographicUsageMask', value: 2 }],
    PublicKey: {
      KeyBlock: {
        KeyFormatType: 'X_509',
        KeyValue: { KeyMaterial: key.export({ format: 'der', type: 'spki' }) },
        CryptographicAlgorithm: 'EC',
        CryptographicLength: 256,
      },
    },
  } as never);
  return answer.UniqueIdentifier as string;
};

describe('Certify', () => {
  test('a PKCS#10 request, in DER and in PEM, by the key in the root of trust', async () => {
    const csr = request('/CN=array-7/O=Bank');
    const pem = Buffer.from(`-----BEGIN CERTIFICATE REQUEST-----\n${csr.toString('base64')}\n-----END CERTIFICATE REQUEST-----\n`);
    for (const [type, value] of [
      ['PKCS_10', csr],
      ['PEM', pem],
    ] as const) {
      const { UniqueIdentifier: id } = await client.request('Certify', {
        CertificateRequestType: type,
        CertificateRequestValue: value,
      } as never);
      const certificate = await certificateOf(id as string);
      expect(certificate.subject).toBe('CN=array-7\nO=Bank');
      expect(certificate.verify(authority.publicKey)).toBe(true);
      expect(verifies(certificate)).toBe(true);
    }
  });

  test('a managed public key; key and certificate point to each other', async () => {
    const key = await publicKey();
    const attributes = [
      { name: 'CertificateSubjectCN', value: 'A, B' },
      { name: 'Name', value: { NameValue: 'certified', NameType: 'UninterpretedTextString' } },
    ];
    const { UniqueIdentifier: id } = await client.request('Certify', { UniqueIdentifier: key, Attributes: attributes } as never);
    const certificate = await certificateOf(id as string);
    expect(certificate.subject).toBe('CN=A\\, B');
    expect(verifies(certificate)).toBe(true);
    expect(await attributesOf(id as string, 'Link')).toContainEqual({ LinkType: 'PublicKeyLink', LinkedObjectIdentifier: key });
    expect(await attributesOf(key, 'Link')).toContainEqual({ LinkType: 'CertificateLink', LinkedObjectIdentifier: id });
    expect(await attributesOf(id as string, 'Name')).toMatchObject([{ NameValue: 'certified' }]);
    expect(await attributesOf(id as string, 'State')).toEqual(['Active']);
  });

  test('the ID Placeholder leads from Certify to Get', async () => {
    const answers = await client.batch([
      { operation: 'Certify', payload: { CertificateRequestType: 'PKCS_10', CertificateRequestValue: request('/CN=batched') } as never },
      { operation: 'Get', payload: {} as never },
    ]);
    const payload = answers[1]?.payload as unknown as { ObjectType: string; Certificate: Fields };
    expect(new X509Certificate(Buffer.from(payload.Certificate['CertificateValue'] as Uint8Array)).subject).toBe('CN=batched');
  });

  test('refuses what is no request, or one whose signature does not hold', async () => {
    const csr = request('/CN=forged');
    csr[csr.length - 1] = (csr[csr.length - 1] as number) ^ 1;
    const certify = (value: Uint8Array, type = 'PKCS_10') =>
      reasonOf(client.request('Certify', { CertificateRequestType: type, CertificateRequestValue: value } as never));
    expect(await certify(csr)).toBe('InvalidCSR');
    expect(await certify(Buffer.from('not a request'))).toBe('InvalidCSR');
    expect(await certify(csr, 'CRMF')).toBe('FeatureNotSupported');
  });

  test('a tenant without an authority has none to ask', async () => {
    const stranger = await target.connect('stranger');
    const certify = { CertificateRequestType: 'PKCS_10', CertificateRequestValue: request('/CN=stranger') };
    expect(await reasonOf(stranger.request('Certify', certify as never))).toBe('ItemNotFound');
  });
});

describe('Re-certify', () => {
  test('makes a successor that takes the name over and begins after the offset', async () => {
    const name = { name: 'Name', value: { NameValue: 'renewed', NameType: 'UninterpretedTextString' } };
    const first = await client.request('Certify', {
      CertificateRequestType: 'PKCS_10',
      CertificateRequestValue: request('/CN=renewed'),
      Attributes: [name],
    } as never);
    const old = first.UniqueIdentifier as string;
    const { UniqueIdentifier: id } = await client.request('ReCertify', { UniqueIdentifier: old, Offset: 3600 } as never);
    const certificate = await certificateOf(id as string);
    expect(certificate.subject).toBe('CN=renewed');
    expect(verifies(certificate)).toBe(true);
    expect(certificate.serialNumber).not.toBe((await certificateOf(old)).serialNumber);
    expect(await attributesOf(id as string, 'Link')).toContainEqual({ LinkType: 'ReplacedObjectLink', LinkedObjectIdentifier: old });
    expect(await attributesOf(old, 'Link')).toContainEqual({ LinkType: 'ReplacementObjectLink', LinkedObjectIdentifier: id });
    expect(await attributesOf(old, 'Name')).toEqual([]);
    expect(await attributesOf(id as string, 'Name')).toMatchObject([{ NameValue: 'renewed' }]);
    expect(await attributesOf(id as string, 'State')).toEqual(['PreActive']);
    const [oldStart, newStart] = [await attributesOf(old, 'ActivationDate'), await attributesOf(id as string, 'ActivationDate')];
    expect(Number(newStart[0]) - Number(oldStart[0])).toBeGreaterThanOrEqual(3600);
  });

  test('refuses a certificate that nobody here issued', async () => {
    const foreign = await client.request('Register', {
      ObjectType: 'Certificate',
      Attributes: [],
      Certificate: { CertificateType: 'X_509', CertificateValue: new X509Certificate(target.identities.bob.cert).raw },
    } as never);
    expect(await reasonOf(client.request('ReCertify', { UniqueIdentifier: foreign.UniqueIdentifier } as never))).not.toBe('undefined');
  });
});

describe('Validate', () => {
  const validate = async (payload: object): Promise<unknown> => (await client.request('Validate', payload as never)).ValidityIndicator;
  const object = (der: Uint8Array) => ({ CertificateType: 'X_509', CertificateValue: der });
  const alice = () => new X509Certificate(target.identities.alice.cert).raw;
  const issuer = () => new X509Certificate(target.authority.cert).raw;

  test('a chain by objects, in any order', async () => {
    expect(await validate({ Certificate: [object(alice()), object(issuer())] })).toBe('Valid');
    expect(await validate({ Certificate: [object(issuer()), object(alice())] })).toBe('Valid');
  });

  test('by identifier, up to our own authority', async () => {
    const { UniqueIdentifier: id } = await client.request('Certify', {
      CertificateRequestType: 'PKCS_10',
      CertificateRequestValue: request('/CN=valid'),
    } as never);
    expect(await validate({ UniqueIdentifier: [id] })).toBe('Valid');
    await client.request('Revoke', { UniqueIdentifier: id, RevocationReason: { RevocationReasonCode: 'KeyCompromise' } } as never);
    expect(await validate({ UniqueIdentifier: [id] })).toBe('Invalid');
  });

  test('without its issuer nobody knows', async () => {
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    writeFileSync(join(dir, 'lonely.pem'), privateKey.export({ format: 'pem', type: 'pkcs8' }), { mode: 0o600 });
    openssl('req', '-x509', '-new', '-key', join(dir, 'lonely.pem'), '-subj', '/CN=nobody', '-days', '2', '-out', join(dir, 'top.pem'));
    openssl('req', '-new', '-key', join(dir, 'lonely.pem'), '-subj', '/CN=lonely', '-out', join(dir, 'lonely.csr'));
    const signing = ['-CA', join(dir, 'top.pem'), '-CAkey', join(dir, 'lonely.pem'), '-CAcreateserial', '-days', '1', '-outform', 'DER'];
    const lonely = openssl('x509', '-req', '-in', join(dir, 'lonely.csr'), ...signing);
    expect(await validate({ Certificate: [object(lonely)] })).toBe('Unknown');
  });

  test('dates, signatures and strangers in the chain are looked at', async () => {
    expect(await validate({ Certificate: [object(alice()), object(issuer())], ValidityDate: 1n })).toBe('Invalid');
    const forged = Buffer.from(alice());
    forged[forged.length - 3] = (forged[forged.length - 3] as number) ^ 1;
    expect(await validate({ Certificate: [object(forged), object(issuer())] })).toBe('Invalid');
    expect(await validate({ Certificate: [object(alice()), object(issuer()), object(authority.raw)] })).toBe('Invalid');
    expect(await reasonOf(validate({ Certificate: [object(Buffer.from('nothing'))] }))).toBe('InvalidField');
  });
});

import { X509Certificate } from 'node:crypto';
import type { Fields } from '@aegis/kmip-ttlv';
import { type KmipCall, type KmipHandler, refuse } from '../contract.js';

// Re-Provision (KMIP 2.1 §6.1.48): another client certificate in place of the one of this connection.

/** The old certificate ends this long after, so that its holder can still fetch the new one with Get. */
const GRACE_MS = 60_000;
const PAGE = 200;

/** The certificate of the connection as the authority of this service issued it. */
async function currentCertificate(call: KmipCall, principalId: string, fingerprint: string): Promise<string | undefined> {
  let cursor: string | undefined;
  do {
    const page = await call.call('list-certificates', { principalId, limit: PAGE, ...(cursor === undefined ? {} : { cursor }) });
    const found = page.items.find((one) => one.fingerprint === fingerprint);
    if (found !== undefined) return found.id;
    cursor = page.next;
  } while (cursor !== undefined);
  return undefined;
}

const fingerprintOf = (call: KmipCall): string => {
  const { credential } = call.caller;
  const certificate = credential.kind === 'message' ? credential.certificate : credential.kind === 'certificate' ? credential : undefined;
  if (certificate === undefined) throw refuse('PermissionDenied', 'Only a client that came with a certificate is given another.');
  return certificate.fingerprint;
};

const bytesIn = (payload: Fields, structure: string, field: string): Uint8Array | undefined => {
  const value = (payload[structure] as Fields | undefined)?.[field];
  return value instanceof Uint8Array ? Uint8Array.from(value) : undefined;
};

/** A certificate of another authority: stored, and bound to the principal by its fingerprint, which takes an administrator. */
async function bindCertificate(call: KmipCall, principalId: string, material: Uint8Array): Promise<string> {
  const fingerprint = new X509Certificate(material).fingerprint256.replaceAll(':', '').toLowerCase();
  const made = await call.call('register', { type: 'certificate', format: 'x509', material });
  await call.call('update-principal', { id: principalId, certificate: { fingerprint } });
  return made.object.id;
}

const reProvision: KmipHandler = async (payload, call) => {
  const fingerprint = fingerprintOf(call);
  const { principal } = await call.call('whoami', {});
  const given = bytesIn(payload, 'Certificate', 'CertificateValue');
  if (given !== undefined) return { UniqueIdentifier: await bindCertificate(call, principal.id, given) };
  const csr = bytesIn(payload, 'CertificateRequest', 'CertificateRequestValue');
  const key = await currentCertificate(call, principal.id, fingerprint);
  if (key === undefined)
    throw refuse('FeatureNotSupported', 'The certificate of this connection was not issued here; send the new certificate.');
  if (csr !== undefined) {
    const renewed = await call.call('renew-certificate', { key, csr, retireOldAfterMs: GRACE_MS });
    return { UniqueIdentifier: renewed.id };
  }
  // No parameters: the server makes the key too, and the client fetches it while the old certificate lasts.
  const pair = await call.call('create-key-pair', { spec: 'ec-p256', usage: ['sign'], exportable: true, activate: true });
  const { publicKey } = await call.call('get-public-key', { key: pair.publicKeyId });
  await call.call('renew-certificate', {
    key,
    publicKey,
    retireOldAfterMs: GRACE_MS,
    links: [{ type: 'private-key', target: pair.object.id }],
  });
  return { UniqueIdentifier: pair.object.id };
};

export const PROVISION_HANDLERS: Readonly<Record<string, KmipHandler>> = { ReProvision: reProvision };

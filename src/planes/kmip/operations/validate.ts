import { X509Certificate } from 'node:crypto';
import type { Fields } from '@aegis/kmip-ttlv';
import type { ManagedObject, ObjectRef } from '../../../domain/index.js';
import { toMs } from '../attributes/new-object.js';
import { idOf } from '../attributes/target.js';
import { type KmipCall, type KmipHandler, refuse } from '../contract.js';
import { withoutArmour } from '../material/read-object.js';

// Validate (KMIP 2.1 §6.1.57, 1.4 §4.23): one chain of certificates, given as objects, as identifiers or as both.

interface Link {
  readonly certificate: X509Certificate;
  /** The managed object, where it is one. */
  readonly object?: ManagedObject;
}
type Verdict = 'Valid' | 'Invalid' | 'Unknown';

/** Longest chain that is looked at; nobody's is longer, and each step is a signature. */
const MAX_CERTIFICATES = 32;

const listOf = (value: unknown): readonly unknown[] => (value === undefined ? [] : Array.isArray(value) ? value : [value]);

const parsed = (der: Uint8Array): X509Certificate => {
  try {
    return new X509Certificate(Buffer.from(withoutArmour(der)));
  } catch {
    throw refuse('InvalidField', 'Not an X.509 certificate.');
  }
};

const managed = async (id: ObjectRef, call: KmipCall): Promise<Link> => {
  const { object } = await call.call('get-object', { key: id });
  if (object.type !== 'certificate' || object.content === undefined) throw refuse('InvalidObjectType', 'A certificate is validated.');
  return { certificate: parsed(object.content), object };
};

const given = async (payload: Fields, call: KmipCall): Promise<readonly Link[]> => {
  const certificates = listOf(payload['Certificate']);
  const ids = listOf(payload['UniqueIdentifier']);
  const count = certificates.length + ids.length;
  if (count > MAX_CERTIFICATES) throw refuse('InvalidField', `At most ${MAX_CERTIFICATES} certificates.`);
  const links: Link[] = certificates.map((one) => {
    const { CertificateType: type, CertificateValue: value } = one as Fields;
    if (type !== 'X_509' || !(value instanceof Uint8Array)) throw refuse('InvalidField', 'Certificates of type X.509 are validated.');
    return { certificate: parsed(value) };
  });
  for (const id of count === 0 ? [undefined] : ids) links.push(await managed(idOf(id, call), call));
  return links;
};

const same = (a: X509Certificate, b: X509Certificate): boolean => a.fingerprint256 === b.fingerprint256;
const isSelfIssued = (certificate: X509Certificate): boolean => certificate.issuer === certificate.subject;

/** Signed by that key, and allowed to be (RFC 5280 §6.1.4 k, n). */
const issued = (issuer: X509Certificate, subject: X509Certificate): boolean =>
  issuer.ca && subject.checkIssued(issuer) && isSigned(issuer, subject);

/** False too for a key that nobody here can use. */
const isSigned = (issuer: X509Certificate, subject: X509Certificate): boolean => {
  try {
    return subject.verify(issuer.publicKey);
  } catch {
    return false;
  }
};

const inDates = (certificate: X509Certificate, at: number): boolean =>
  Date.parse(certificate.validFrom) <= at && at <= Date.parse(certificate.validTo);

/** A managed certificate that was revoked, deactivated or destroyed stands for nobody any more. */
const isWithdrawn = ({ object }: Link): boolean =>
  object !== undefined && (object.revocation !== undefined || !['pre-active', 'active'].includes(object.state));

/** The certificate that nothing else in the list was issued by. */
const leafOf = (links: readonly Link[]): Link | undefined =>
  links.find(({ certificate }) => !links.some((other) => !same(other.certificate, certificate) && issued(certificate, other.certificate)));

/** An issuer the tenant holds, where the list ends before the top. */
const heldIssuer = async ({ certificate }: Link, call: KmipCall): Promise<Link | undefined> => {
  const { items } = await call.call('locate', {
    types: ['certificate'],
    attributes: { 'x-aegis-x509-subject': certificate.issuer },
    limit: 10,
  });
  for (const { id } of items) {
    const link = await managed(id, call);
    if (issued(link.certificate, certificate)) return link;
  }
  const { items: authorities } = await call.call('list-authorities', {});
  for (const { certificateId } of authorities) {
    const link = await managed(certificateId, call);
    if (issued(link.certificate, certificate)) return link;
  }
  return undefined;
};

const judge = async (links: readonly Link[], at: number, call: KmipCall): Promise<Verdict> => {
  const used = new Set<string>();
  let current = leafOf(links);
  if (current === undefined) return 'Invalid';
  for (let depth = 0; depth < MAX_CERTIFICATES; depth += 1) {
    const { certificate }: Link = current;
    used.add(certificate.fingerprint256);
    if (isWithdrawn(current) || !inDates(certificate, at)) return 'Invalid';
    if (isSelfIssued(certificate)) {
      // What is in the list but not in the chain was not signed by what is said to have signed it.
      const whole = links.every((link) => used.has(link.certificate.fingerprint256));
      return whole && isSigned(certificate, certificate) ? 'Valid' : 'Invalid';
    }
    const next: Link | undefined =
      links.find((link) => !used.has(link.certificate.fingerprint256) && issued(link.certificate, certificate)) ??
      (await heldIssuer(current, call));
    if (next === undefined) return links.every((link) => used.has(link.certificate.fingerprint256)) ? 'Unknown' : 'Invalid';
    current = next;
  }
  return 'Unknown';
};

export const validate: KmipHandler = async (payload, call) => {
  const links = await given(payload, call);
  const date = payload['ValidityDate'];
  const at = date === undefined ? call.now : toMs(date, 'ValidityDate');
  return { ValidityIndicator: await judge(links, at, call) };
};

import type { Fields, KmipAttribute } from '@aegis/kmip-ttlv';
import { FaultError, type NewObject, type OperationRequest } from '../../../domain/index.js';
import { givenAttributes } from '../attributes/given.js';
import { readNewObject } from '../attributes/new-object.js';
import { idOf, targetOf } from '../attributes/target.js';
import { type KmipCall, type KmipHandler, refuse } from '../contract.js';
import { withoutArmour } from '../material/read-object.js';
import { validate } from './validate.js';

// Certify and Re-certify (KMIP 2.1 §6.1.6, §6.1.45; 1.4 §4.7, §4.8) by the authority whose key lives in a root of trust.

/** The certificate request of a payload, in DER. */
const requestIn = (payload: Fields): Uint8Array | undefined => {
  const value = payload['CertificateRequestValue'];
  const type = payload['CertificateRequestType'];
  if (value === undefined) return undefined;
  if (type === undefined) throw refuse('InvalidField', 'A certificate request needs its Certificate Request Type.');
  if (type !== 'PKCS_10' && type !== 'PEM') throw refuse('FeatureNotSupported', 'Certificate requests are PKCS#10, in DER or PEM.');
  if (!(value instanceof Uint8Array) || value.length === 0) throw refuse('InvalidCSR', 'The certificate request is empty.');
  return new Uint8Array(withoutArmour(value));
};

const SUBJECT_PARTS: readonly (readonly [attribute: string, type: string])[] = [
  ['CertificateSubjectCN', 'CN'],
  ['CertificateSubjectOU', 'OU'],
  ['CertificateSubjectO', 'O'],
  ['CertificateSubjectL', 'L'],
  ['CertificateSubjectST', 'ST'],
  ['CertificateSubjectC', 'C'],
  ['CertificateSubjectEmail', 'emailAddress'],
  ['CertificateSubjectUID', 'UID'],
  ['CertificateSubjectDC', 'DC'],
  ['CertificateSubjectSerialNumber', 'serialNumber'],
];
const escaped = (text: string): string => text.replace(/[,+"\\<>;=]/g, '\\$&').replace(/^[ #]/, '\\$&');

/** RFC 4514, from a whole name or from the single attributes. */
const subjectIn = (attributes: readonly KmipAttribute[]): string | undefined => {
  const standard = attributes.filter(({ vendor }) => vendor === undefined);
  const whole = standard.find(({ name }) => name === 'CertificateSubject')?.value as Fields | undefined;
  const text = whole?.['CertificateSubjectDistinguishedName'];
  if (typeof text === 'string') return text;
  const parts = SUBJECT_PARTS.flatMap(([name, type]) =>
    standard.filter((one) => one.name === name && typeof one.value === 'string').map(({ value }) => `${type}=${escaped(String(value))}`),
  );
  return parts.length === 0 ? undefined : parts.join(',');
};
const NAMES_SUBJECT = /^(CertificateSubject|CertificateAttributes)/;

/** Names, dates, links and the rest, without what became the subject. */
const described = (attributes: readonly KmipAttribute[], call: KmipCall): NewObject => {
  const rest = attributes.filter(({ name, vendor }) => vendor !== undefined || (!NAMES_SUBJECT.test(name) && name !== 'CertificateType'));
  const { exportable: _, usage: __, ...made } = readNewObject(rest, { type: 'certificate', call });
  return made;
};

const checkType = (attributes: readonly KmipAttribute[]): void => {
  const type = attributes.find(({ name, vendor }) => vendor === undefined && name === 'CertificateType')?.value;
  if (type !== undefined && type !== 'X_509') throw refuse('InvalidField', 'The authority issues certificates of type X.509.');
};

/** A request that cannot be read or whose signature does not hold is Invalid CSR (KMIP 2.1 §6.1.6.1). */
const csrFault = (error: unknown): unknown =>
  error instanceof FaultError && error.fault.code === 'invalid-field' && error.fault.field?.startsWith('csr') === true
    ? refuse('InvalidCSR', error.fault.message)
    : error;

const issue = async (request: OperationRequest<'issue-certificate'>, call: KmipCall): Promise<string> => {
  try {
    return (await call.call('issue-certificate', request)).id;
  } catch (error) {
    throw csrFault(error);
  }
};

/** Key and certificate point to each other also where the key came in a request beside its id. */
const linkKey = async (keyId: string, certificateId: string, call: KmipCall): Promise<void> => {
  const { object } = await call.call('get-object', { key: keyId });
  const certificate = { type: 'certificate', target: certificateId };
  await call.call('update-object', { key: keyId, revision: object.revision, links: [...object.links, certificate] });
};

const certify: KmipHandler = async (payload, call) => {
  const attributes = await givenAttributes(payload, 'Attributes', call);
  checkType(attributes);
  const csr = requestIn(payload);
  const made = described(attributes, call);
  // "If the information in the Certificate Request conflicts with the attributes, the information in the Certificate Request takes precedence."
  const subject = csr === undefined ? subjectIn(attributes) : undefined;
  const named = payload['UniqueIdentifier'];
  const keyId = csr === undefined ? await targetOf(payload, call) : named === undefined ? undefined : idOf(named, call);
  if (csr === undefined) {
    const request = { ...made, subjectKey: keyId as string, ...(await subjectOf(subject, keyId as string, call)) };
    return answer(await issue(request, call), call);
  }
  const links = keyId === undefined ? {} : { links: [...(made.links ?? []), { type: 'public-key', target: keyId }] };
  const id = await issue({ ...made, ...links, csr }, call);
  if (keyId !== undefined) await linkKey(keyId, id, call);
  return answer(id, call);
};

/** A bare public key names nobody; its own name does where the request has none. A certificate request says it itself. */
const subjectOf = async (subject: string | undefined, keyId: string, call: KmipCall): Promise<{ readonly subject?: string }> => {
  if (subject !== undefined) return { subject };
  const { object } = await call.call('get-object', { key: keyId });
  return object.type === 'certificate-request' ? {} : { subject: `CN=${escaped(object.names[0] ?? object.id)}` };
};

const answer = (id: string, call: KmipCall): Fields => {
  call.setPlaceholder(id);
  return { UniqueIdentifier: id };
};

/** KMIP 1.4 §4.8, table 201: the successor's dates lie as far apart as the old ones', from its own Initial Date plus the offset. */
const offsetDates = async (payload: Fields, id: string, call: KmipCall): Promise<Pick<NewObject, 'dates'>> => {
  const offset = payload['Offset'];
  if (offset === undefined) return {};
  if (typeof offset !== 'number' || offset < 0) throw refuse('InvalidField', 'The Offset is a number of seconds.');
  const { object } = await call.call('get-object', { key: id });
  const { activation, deactivation } = object.dates;
  const start = call.now + offset * 1000;
  const shift = activation === undefined || deactivation === undefined ? {} : { deactivation: deactivation + (start - activation) };
  return { dates: { activation: start, ...shift } };
};

const reCertify: KmipHandler = async (payload, call) => {
  const attributes = await givenAttributes(payload, 'Attributes', call);
  checkType(attributes);
  const id = await targetOf(payload, call);
  const csr = requestIn(payload) ?? (await managedRequest(payload, call));
  const subject = csr === undefined ? subjectIn(attributes) : undefined;
  const made = described(attributes, call);
  const { dates } = await offsetDates(payload, id, call);
  try {
    const renewed = await call.call('renew-certificate', {
      ...made,
      ...(dates === undefined ? {} : { dates: { ...dates, ...made.dates } }),
      key: id,
      ...(csr === undefined ? {} : { csr }),
      ...(subject === undefined ? {} : { subject }),
    });
    return answer(renewed.id, call);
  } catch (error) {
    throw csrFault(error);
  }
};

/** 2.x: a certificate request that is a managed object. */
const managedRequest = async (payload: Fields, call: KmipCall): Promise<Uint8Array | undefined> => {
  const named = payload['CertificateRequestUniqueIdentifier'];
  if (named === undefined) return undefined;
  const { type, material } = await call.call('export-key', { key: idOf(named, call) });
  if (type !== 'certificate-request') throw refuse('InvalidObjectType', 'The Certificate Request Unique Identifier names something else.');
  return material;
};

/** Certify, Re-certify, Validate. */
export const CERTIFICATE_HANDLERS: Readonly<Record<string, KmipHandler>> = { Certify: certify, ReCertify: reCertify, Validate: validate };

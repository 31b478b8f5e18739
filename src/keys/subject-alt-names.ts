import { isIPv4, isIPv6 } from 'node:net';
import * as asn1js from 'asn1js';
import { GeneralName, GeneralNames } from 'pkijs';
import { badField } from './field-rules.js';

const MAX_NAMES = 100;
const LABEL = /^(?!-)[a-z0-9_-]{1,63}(?<!-)$/i;

const isDnsName = (name: string): boolean => {
  const labels = (name.startsWith('*.') ? name.slice(2) : name).split('.');
  return name.length <= 253 && labels.length >= 1 && labels.every((l) => LABEL.test(l));
};

const ipv6Bytes = (text: string): Uint8Array => {
  // The URL parser gives the canonical form with all embedded IPv4 converted; expansion is then mechanical.
  const canonical = new URL(`http://[${text}]`).hostname.slice(1, -1);
  const [head = '', tail] = canonical.split('::');
  const groups = (s: string): number[] => (s === '' ? [] : s.split(':').map((g) => Number.parseInt(g, 16)));
  const before = groups(head);
  const after = tail === undefined ? [] : groups(tail);
  const all = tail === undefined ? before : [...before, ...new Array<number>(8 - before.length - after.length).fill(0), ...after];
  return Uint8Array.from(all.flatMap((g) => [g >> 8, g & 0xff]));
};
const ipBytes = (text: string): Uint8Array => (isIPv4(text) ? Uint8Array.from(text.split('.'), Number) : ipv6Bytes(text));

/** RFC 5280 §4.2.1.6 choice numbers. */
const toGeneralName = (kind: string, value: string, field: string): GeneralName => {
  if (kind === 'dns' && isDnsName(value)) return new GeneralName({ type: 2, value });
  if (kind === 'email' && /^[\x21-\x7e]+@[\x21-\x7e]+$/.test(value) && value.length <= 254) return new GeneralName({ type: 1, value });
  if (kind === 'uri' && /^[a-z][a-z0-9+.-]*:[\x21-\x7e]+$/i.test(value) && value.length <= 2048) return new GeneralName({ type: 6, value });
  if (kind === 'ip' && (isIPv4(value) || (isIPv6(value) && !value.includes('%')))) {
    return new GeneralName({ type: 7, value: new asn1js.OctetString({ valueHex: new Uint8Array(ipBytes(value)).buffer }) });
  }
  throw badField(field, 'Not a subject alternative name.', 'Use dns:api.example.com, ip:192.0.2.1, email:a@example.com or uri:spiffe://….');
};

const KIND = /^(dns|ip|email|uri):(.*)$/is;
const kindOf = (name: string): readonly [kind: string, value: string] => {
  const [, kind, value] = KIND.exec(name) ?? [];
  if (kind !== undefined && value !== undefined) return [kind.toLowerCase(), value];
  return [isIPv4(name) || isIPv6(name) ? 'ip' : name.includes('@') ? 'email' : name.includes('://') ? 'uri' : 'dns', name];
};

const checkList = (names: readonly string[]): void => {
  if (!Array.isArray(names)) throw badField('subjectAltNames', 'Must be a list of texts.', 'Send a list.');
  if (names.length > MAX_NAMES) throw badField('subjectAltNames', `At most ${MAX_NAMES} names.`, 'Send fewer.');
  for (const [i, name] of names.entries())
    if (typeof name !== 'string') throw badField(`subjectAltNames.${i}`, 'Must be text.', 'Send a string.');
};

/** `dns:…`, `ip:…`, `email:…`, `uri:…`; without a prefix an address is an IP, something with @ mail, anything else a DNS name. */
export const parseAltNames = (names: readonly string[] | undefined): GeneralNames | undefined => {
  if (names === undefined || names.length === 0) return undefined;
  checkList(names);
  return new GeneralNames({ names: names.map((name, i) => toGeneralName(...kindOf(name), `subjectAltNames.${i}`)) });
};

/** The same names, each with its prefix; what `parseAltNames` takes. */
export const normaliseAltNames = (names: readonly string[]): readonly string[] => {
  checkList(names);
  return names.map((name) => kindOf(name).join(':'));
};

const ipText = (bytes: Uint8Array): string => {
  if (bytes.length === 4) return bytes.join('.');
  const groups = Array.from({ length: 8 }, (_, i) => (((bytes[2 * i] ?? 0) << 8) | (bytes[2 * i + 1] ?? 0)).toString(16));
  return groups.join(':');
};

/** The names of a request somebody else wrote, as text to be checked like any other. */
export const altNamesOf = (names: GeneralNames): readonly string[] =>
  names.names.map((name) => {
    if (name.type === 1) return `email:${String(name.value)}`;
    if (name.type === 2) return `dns:${String(name.value)}`;
    if (name.type === 6) return `uri:${String(name.value)}`;
    const bytes = name.type === 7 ? (name.value as asn1js.OctetString).valueBlock.valueHexView : undefined;
    if (bytes?.length === 4 || bytes?.length === 16) return `ip:${ipText(bytes)}`;
    throw badField('csr', 'The request names its subject in a form that is not certified here.', 'Use DNS, IP, e-mail and URI names.');
  });

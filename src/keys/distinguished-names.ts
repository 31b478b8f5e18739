import * as asn1js from 'asn1js';
import { AttributeTypeAndValue, RelativeDistinguishedNames } from 'pkijs';
import { badField } from './field-rules.js';

interface NameAttribute {
  readonly oid: string;
  /** PrintableString where the standard fixes it (RFC 5280 appendix A), IA5String for what was born in mail. */
  readonly form: 'utf8' | 'printable' | 'ia5';
  readonly maxChars: number;
}
const utf8 = (oid: string, maxChars = 64): NameAttribute => ({ oid, form: 'utf8', maxChars });

/** RFC 4514 §3 with the usual further types; upper bounds of RFC 5280 appendix A.1. */
const ATTRIBUTES: Readonly<Record<string, NameAttribute>> = {
  CN: utf8('2.5.4.3'),
  SN: utf8('2.5.4.4'),
  SERIALNUMBER: { oid: '2.5.4.5', form: 'printable', maxChars: 64 },
  C: { oid: '2.5.4.6', form: 'printable', maxChars: 2 },
  L: utf8('2.5.4.7', 128),
  ST: utf8('2.5.4.8', 128),
  S: utf8('2.5.4.8', 128),
  STREET: utf8('2.5.4.9', 128),
  O: utf8('2.5.4.10'),
  OU: utf8('2.5.4.11'),
  TITLE: utf8('2.5.4.12'),
  POSTALCODE: utf8('2.5.4.17', 40),
  GIVENNAME: utf8('2.5.4.42'),
  GN: utf8('2.5.4.42'),
  DNQUALIFIER: { oid: '2.5.4.46', form: 'printable', maxChars: 64 },
  ORGANIZATIONIDENTIFIER: utf8('2.5.4.97', 255),
  UID: utf8('0.9.2342.19200300.100.1.1', 255),
  DC: { oid: '0.9.2342.19200300.100.1.25', form: 'ia5', maxChars: 63 },
  EMAIL: { oid: '1.2.840.113549.1.9.1', form: 'ia5', maxChars: 255 },
  EMAILADDRESS: { oid: '1.2.840.113549.1.9.1', form: 'ia5', maxChars: 255 },
};
const OID = /^(?:oid\.)?([0-2](?:\.(?:0|[1-9][0-9]{0,8})){1,15})$/i;

const MAX_SUBJECT_CHARS = 2048;
const MAX_ATTRIBUTES = 32;
const NEXT = 'Write it as in RFC 4514, for example CN=api.example.com,O=Example,C=DE.';
const bad = (message: string) => badField('subject', message, NEXT);

/** A value's bytes by RFC 4514 §2.4: `\,` `\+` and friends, and `\c3\a4` for any byte. */
const unescapeValue = (raw: string): string => {
  const out: number[] = [];
  const bytes = Buffer.from(raw, 'utf8');
  for (let i = 0; i < bytes.length; i += 1) {
    if (bytes[i] !== 0x5c) {
      out.push(bytes[i] as number);
      continue;
    }
    const pair = bytes.subarray(i + 1, i + 3).toString('latin1');
    if (/^[0-9a-f]{2}$/i.test(pair)) {
      out.push(Number.parseInt(pair, 16));
      i += 2;
    } else if (/^[\\"+,;<>#= ]/.test(pair)) {
      out.push(bytes[i + 1] as number);
      i += 1;
    } else throw bad('A backslash escapes nothing that may be escaped.');
  }
  const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  try {
    return text.decode(Uint8Array.from(out));
  } catch {
    throw bad('An escaped value is not UTF-8.');
  }
};

/** Splits at unescaped separators. */
const split = (text: string, separators: string): { part: string; separator: string }[] => {
  const parts: { part: string; separator: string }[] = [];
  let start = 0;
  for (let i = 0; i < text.length; i += 1) {
    if (text[i] === '\\') i += 1;
    else if (separators.includes(text[i] as string)) {
      parts.push({ part: text.slice(start, i), separator: text[i] as string });
      start = i + 1;
    }
  }
  parts.push({ part: text.slice(start), separator: '' });
  return parts;
};

/** Spaces around a value are not part of it, unless the last one is escaped. */
const trimValue = (value: string): string => {
  const left = value.replace(/^ +/, '');
  const right = left.replace(/ +$/, '');
  return /(^|[^\\])(\\\\)*\\$/.test(right) && right.length < left.length ? `${right} ` : right;
};

const encode = (attribute: NameAttribute, value: string): asn1js.BaseBlock => {
  if (value === '') throw bad('A name attribute cannot be empty.');
  if (value.length > attribute.maxChars) throw bad(`A value is longer than ${attribute.maxChars} characters.`);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: a control character in a certificate name misleads its reader
  if (/[\u0000-\u001f\u007f-\u009f]/.test(value)) throw bad('A value holds control characters.');
  if (attribute.form === 'printable') {
    if (!/^[A-Za-z0-9 '()+,./:=?-]+$/.test(value)) throw bad('A country, serial number or qualifier takes plain characters only.');
    return new asn1js.PrintableString({ value });
  }
  if (attribute.form === 'ia5') {
    if (!/^[\x20-\x7e]+$/.test(value)) throw bad('An e-mail address or domain component takes ASCII only.');
    return new asn1js.IA5String({ value });
  }
  return new asn1js.Utf8String({ value });
};

const parseAttribute = (text: string): AttributeTypeAndValue => {
  const [head, ...rest] = split(text, '=');
  if (head === undefined || rest.length === 0) throw bad('A part has no “=”.');
  const type = head.part.trim();
  const value = unescapeValue(trimValue(text.slice(head.part.length + 1)));
  const known = Object.hasOwn(ATTRIBUTES, type.toUpperCase()) ? ATTRIBUTES[type.toUpperCase()] : undefined;
  const oid = OID.exec(type)?.[1];
  const attribute = known ?? (oid === undefined ? undefined : utf8(oid, 255));
  if (attribute === undefined) throw bad(`“${type.slice(0, 40)}” is not a known attribute type.`);
  return new AttributeTypeAndValue({ type: attribute.oid, value: encode(attribute, value) as asn1js.Utf8String });
};

/**
 * RFC 4514 string → distinguished name. The string lists the most specific part first; the encoded sequence runs the
 * other way (RFC 4514 §2.1). People write `C=DE,O=…,CN=…` just as often; order is kept as they mean it: what starts with
 * C or DC is taken as already in encoded order.
 */
export const parseSubject = (subject: string): RelativeDistinguishedNames => {
  if (typeof subject !== 'string' || subject.trim() === '') throw bad('A subject is needed.');
  if (subject.length > MAX_SUBJECT_CHARS) throw bad(`A subject has at most ${MAX_SUBJECT_CHARS} characters.`);
  const groups: AttributeTypeAndValue[][] = [[]];
  for (const { part, separator } of split(subject, ',;+')) {
    groups.at(-1)?.push(parseAttribute(part));
    if (separator === ',' || separator === ';') groups.push([]);
  }
  const attributes = groups.flat();
  if (attributes.length > MAX_ATTRIBUTES) throw bad(`A subject has at most ${MAX_ATTRIBUTES} parts.`);
  if (attributes.length !== groups.length) throw bad('Several attributes in one part (“+”) are not supported.');
  const first = attributes[0]?.type;
  const encodedOrder = first === '2.5.4.6' || first === '0.9.2342.19200300.100.1.25';
  return toName(encodedOrder && attributes.length > 1 ? attributes : attributes.reverse());
};

/** One attribute to each relative name (X.501 §9.2). pkijs would put all of them into one: a different name to everybody else. */
const toName = (typesAndValues: AttributeTypeAndValue[]): RelativeDistinguishedNames => {
  const parts = typesAndValues.map((one) => new asn1js.Set({ value: [one.toSchema()] }));
  return new RelativeDistinguishedNames({ typesAndValues, valueBeforeDecode: new asn1js.Sequence({ value: parts }).toBER() });
};
/** For a certificate that only has alternative names. */
export const emptyName = (): RelativeDistinguishedNames => toName([]);

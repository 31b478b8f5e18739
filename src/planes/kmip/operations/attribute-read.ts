import type { AttributeReference, Fields, KmipAttribute } from '@aegis/kmip-ttlv';
import { attributesOfObject } from '../attributes/of-object.js';
import { targetOf } from '../attributes/target.js';
import { type KmipHandler, refuse } from '../contract.js';

// Get Attributes and Get Attribute List (KMIP 2.1 §6.1.20, §6.1.21; 1.4 §4.12, §4.13).

/** KMIP 1.4 §2.1.1: an index of 0 is what is meant where none is said; clients that know no index stumble over one. */
export const shown = (attribute: KmipAttribute): KmipAttribute => {
  if (attribute.index !== 0) return attribute;
  const { index: _, ...rest } = attribute;
  return rest as KmipAttribute;
};

const isMeant = (attribute: KmipAttribute, { name, vendor, index, linkType }: AttributeReference): boolean => {
  if (attribute.name !== name || attribute.vendor !== vendor) return false;
  if (index !== undefined && index !== attribute.index) return false;
  // In 3.0 each type of link is an attribute of its own.
  return linkType === undefined || (attribute.value as Fields | undefined)?.['LinkType'] === linkType;
};

/** "The same attribute name SHALL NOT be present more than once in a request": Invalid Message (KMIP 1.4 §4.12, table 339). */
const checkOnce = (references: readonly AttributeReference[]): void => {
  const said = references.map(({ name, vendor, linkType }) => JSON.stringify([vendor ?? null, name, linkType ?? null]));
  if (new Set(said).size < said.length) throw refuse('InvalidMessage', 'The same attribute is asked for twice.');
};

/** Get Attributes: what is there of what is asked for; an attribute that is not there is no error. */
export const getAttributes: KmipHandler = async (payload, call) => {
  const key = await targetOf(payload, call);
  const references = payload['AttributeReference'] as readonly AttributeReference[] | undefined;
  checkOnce(references ?? []);
  const all = attributesOfObject(await call.call('get-object', { key }), call.version);
  const meant =
    references === undefined || references.length === 0
      ? all
      : references.flatMap((one) => all.filter((attribute) => isMeant(attribute, one)));
  return { UniqueIdentifier: key, Attributes: meant.map(shown) };
};

/** Get Attribute List. */
export const getAttributeList: KmipHandler = async (payload, call) => {
  const key = await targetOf(payload, call);
  const all = attributesOfObject(await call.call('get-object', { key }), call.version);
  const seen = new Map<string, AttributeReference>();
  for (const { name, vendor, value } of all) {
    const linkType = vendor === undefined && name === 'Link' ? (value as Fields)['LinkType'] : undefined;
    // Only 3.0 tells one type of link from another; the others list the name once.
    const typed = call.version === '3.0' && typeof linkType === 'string' ? { linkType } : {};
    const reference = { name, ...(vendor === undefined ? {} : { vendor }), ...typed };
    seen.set(JSON.stringify(reference), reference);
  }
  return { UniqueIdentifier: key, AttributeReference: [...seen.values()] };
};

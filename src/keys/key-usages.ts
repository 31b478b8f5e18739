import { KEY_SPECS, KEY_USAGES, type KeySpec, type KeyUsage } from '@aegis/rot-spi/vocabulary';
import type { ManagedObject, ObjectType } from '../domain/index.js';
import { badField } from './field-rules.js';

/** What a key may do when its maker does not say. */
const DEFAULT_USAGE: Readonly<Record<(typeof KEY_SPECS)[KeySpec]['family'], readonly KeyUsage[]>> = {
  aes: ['encrypt', 'decrypt'],
  chacha20: ['encrypt', 'decrypt'],
  des3: ['encrypt', 'decrypt'],
  hmac: ['mac', 'mac-verify'],
  rsa: ['sign', 'verify'],
  ec: ['sign', 'verify'],
  eddsa: ['sign', 'verify'],
  xdh: ['derive', 'agree'],
  'ml-kem': ['derive', 'agree'],
  'ml-dsa': ['sign', 'verify'],
  'slh-dsa': ['sign', 'verify'],
  secret: ['export', 'derive'],
};

/**
 * Usages a wire may record that no root acts upon (KMIP masks carry them); kept on the object, never part of a binding.
 * `export` is recorded too, but what decides is `exportable`.
 */
const RECORDED: readonly KeyUsage[] = ['export', 'content-commitment', 'certificate-sign', 'crl-sign', 'authenticate', 'unrestricted'];
/** What the public half of a pair can be asked to do. */
const PUBLIC: readonly KeyUsage[] = ['verify', 'encrypt', 'wrap', 'agree', 'derive'];

const inTableOrder = (usages: Iterable<KeyUsage>): readonly KeyUsage[] => {
  const set = new Set(usages);
  return KEY_USAGES.filter((u) => set.has(u));
};

const allowedFor = (spec: KeySpec, type: ObjectType): readonly KeyUsage[] => {
  const all = KEY_SPECS[spec].usages;
  const acting = type === 'public-key' || type === 'certificate' ? all.filter((u) => PUBLIC.includes(u)) : all;
  return [...acting, ...RECORDED];
};

/** Checked usages in table order, or the default of the spec. */
export const checkUsage = (usage: readonly KeyUsage[] | undefined, spec: KeySpec, type: ObjectType, field: string): readonly KeyUsage[] => {
  if (usage === undefined) {
    const fallback = DEFAULT_USAGE[KEY_SPECS[spec].family];
    return inTableOrder(type === 'public-key' || type === 'certificate' ? publicUsage(fallback) : fallback);
  }
  const allowed = allowedFor(spec, type);
  for (const [i, u] of usage.entries()) {
    if (!allowed.includes(u)) {
      const usable = inTableOrder(allowed.filter((a) => !RECORDED.includes(a)));
      throw badField(
        `${field}.${i}`,
        `A ${spec} ${type} cannot have the usage "${String(u).slice(0, 40)}".`,
        `Choose from ${usable.join(', ')}.`,
      );
    }
  }
  if (usage.length === 0 && KEY_SPECS[spec].shape !== 'secret') {
    throw badField(field, 'A key without any usage can do nothing.', `Leave usage out, or choose from ${allowed.join(', ')}.`);
  }
  return inTableOrder(usage);
};

const COUNTERPART: Partial<Record<KeyUsage, KeyUsage>> = { sign: 'verify', decrypt: 'encrypt', unwrap: 'wrap' };
/** The public half of what a private key does. */
export const publicUsage = (usage: readonly KeyUsage[]): readonly KeyUsage[] =>
  inTableOrder(usage.flatMap((u) => COUNTERPART[u] ?? (PUBLIC.includes(u) ? [u] : [])));

/** The usages a reference is bound to: those the spec itself knows. */
export const boundUsage = (object: Pick<ManagedObject, 'usage' | 'spec'>): readonly KeyUsage[] => {
  const known = KEY_SPECS[object.spec ?? 'secret'].usages;
  return object.usage.filter((u) => known.includes(u));
};

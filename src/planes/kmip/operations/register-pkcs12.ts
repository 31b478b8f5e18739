import type { Fields, KmipAttribute } from '@aegis/kmip-ttlv';
import { linkOf } from '../attributes/new-object.js';
import { refuse } from '../contract.js';
import { DerError } from '../material/der.js';
import { type Pkcs12, readPkcs12 } from '../material/pkcs12.js';
import { badPassword, linkedPassword } from '../material/pkcs12-password.js';
import type { Registering } from './register.js';

// Register of a private key in PKCS#12 (KMIP 2.1 §4.38, §11.25): the key, and each certificate of its chain, linked.

const FRIENDLY_NAME = 'PKCS_12FriendlyName';

export const isPkcs12 = ({ type, object }: Registering): boolean =>
  type === 'private-key' && (object['KeyBlock'] as Fields | undefined)?.['KeyFormatType'] === 'PKCS_12';

/** The file itself is the Key Value (TC-PKCS12-2) or its Key Material. */
const fileOf = (object: Fields): Uint8Array => {
  const value = (object['KeyBlock'] as Fields)['KeyValue'];
  const file = value instanceof Uint8Array ? value : (value as Fields | undefined)?.['KeyMaterial'];
  if (!(file instanceof Uint8Array)) throw refuse('InvalidField', 'PKCS#12 is a byte string.');
  return file;
};

const opened = (registering: Registering, password: Uint8Array): Pkcs12 => {
  const { attributes, object, wiper, call } = registering;
  const name = attributes.find((one) => one.vendor === undefined && one.name === FRIENDLY_NAME)?.value;
  try {
    return readPkcs12(fileOf(object), password, typeof name === 'string' ? name : undefined, wiper);
  } catch (error) {
    if (!(error instanceof DerError)) throw error;
    if (error.message === 'the password' || error.message === 'decryption') throw badPassword(call);
    throw refuse('InvalidField', `The PKCS#12 file cannot be read: ${error.message}.`);
  }
};

const linkTo = (type: string, target: string): KmipAttribute => ({
  name: 'Link',
  value: { LinkType: type, LinkedObjectIdentifier: target },
});

type RegisterOne = (registering: Registering) => Promise<string>;

/** From the last issuer to the key's own certificate, each linked to the next above it; their ids, the key's own first. */
const registerChain = async (registering: Registering, file: Pkcs12, registerOne: RegisterOne, made: string[]): Promise<void> => {
  const { alsoTakes: _, extra, ...base } = registering;
  const { id: __, replaces: ___, ...place } = extra;
  for (const { der, friendlyName } of [...file.certificates].reverse()) {
    const above = made[0];
    const attributes: KmipAttribute[] = [
      ...(friendlyName === undefined ? [] : [{ name: FRIENDLY_NAME, value: friendlyName }]),
      ...(above === undefined ? [] : [linkTo('PKCS_12CertificateLink', above)]),
    ];
    const object: Fields = { CertificateType: 'X_509', CertificateValue: new Uint8Array(der) };
    made.unshift(await registerOne({ ...base, extra: place, type: 'certificate', object, attributes }));
  }
};

export const registerPkcs12 = async (registering: Registering, registerOne: RegisterOne): Promise<string> => {
  const { attributes, call, wiper } = registering;
  const links = attributes.filter((one) => one.vendor === undefined && one.name === 'Link').map((one) => linkOf(one, call));
  const file = opened(registering, await linkedPassword(links, call, wiper));
  const made: string[] = [];
  try {
    await registerChain(registering, file, registerOne, made);
    const own = made[0];
    const named = attributes.some((one) => one.vendor === undefined && one.name === FRIENDLY_NAME);
    const object: Fields = { KeyBlock: { KeyFormatType: 'PKCS_8', KeyValue: { KeyMaterial: file.pkcs8 } } };
    return await registerOne({
      ...registering,
      object,
      attributes: [
        ...attributes,
        ...(named || file.friendlyName === undefined ? [] : [{ name: FRIENDLY_NAME, value: file.friendlyName }]),
        ...(own === undefined ? [] : [linkTo('PKCS_12CertificateLink', own)]),
      ],
    });
  } catch (error) {
    // The certificates of a key that was refused belong to nothing.
    for (const id of made) await call.call('destroy', { key: id }).catch(() => undefined);
    throw error;
  }
};

import type { Fields, KmipAttribute, KmipVersion } from '@aegis/kmip-ttlv';
import { type KmipClient, KmipRefusal } from '@aegis/kmip-ttlv/client';

/** Short forms for the cryptography tests: payloads as plain fields, refusals as their reason. */

export const hex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text.replace(/\s/g, ''), 'hex'));
export const toHex = (bytes: unknown): string => Buffer.from((bytes as Uint8Array | undefined) ?? []).toString('hex');

/** One operation; the answer's payload. */
export const ask = async (client: KmipClient, operation: string, payload: Fields): Promise<Fields> =>
  (await client.request(operation as never, payload as never)) as Fields;

/** The Result Reason of an operation that must be refused. */
export const refusal = async (client: KmipClient, operation: string, payload: Fields): Promise<string | number> => {
  try {
    await ask(client, operation, payload);
  } catch (error) {
    if (error instanceof KmipRefusal) return error.reason as string | number;
    throw error;
  }
  return 'no refusal';
};

/** Cryptographic Usage Mask bits (KMIP 2.1 §12.1). */
export const MASK = { sign: 1, verify: 2, encrypt: 4, decrypt: 8, mac: 0x80, macVerify: 0x100, derive: 0x200, agree: 0x800 } as const;

const PAST = 1_600_000_000n;

export interface Wish {
  readonly algorithm: string;
  readonly length?: number;
  readonly mask: number;
  readonly parameters?: Fields;
  /** Attributes besides, and no Activation Date with `inactive`. */
  readonly more?: readonly KmipAttribute[];
  readonly inactive?: true;
}

const attributesOf = ({ algorithm, length, mask, parameters, more = [], inactive }: Wish): KmipAttribute[] => [
  { name: 'CryptographicAlgorithm', value: algorithm },
  ...(length === undefined ? [] : [{ name: 'CryptographicLength', value: length }]),
  { name: 'CryptographicUsageMask', value: mask },
  ...(parameters === undefined ? [] : [{ name: 'CryptographicParameters', value: parameters }]),
  ...(inactive === true ? [] : [{ name: 'ActivationDate', value: PAST }]),
  ...more,
];

export const registerKey = async (client: KmipClient, material: Uint8Array, wish: Wish): Promise<string> => {
  const { UniqueIdentifier } = await ask(client, 'Register', {
    ObjectType: 'SymmetricKey',
    Attributes: attributesOf(wish),
    SymmetricKey: {
      KeyBlock: {
        KeyFormatType: 'Raw',
        KeyValue: { KeyMaterial: material },
        CryptographicAlgorithm: wish.algorithm,
        CryptographicLength: wish.length ?? material.length * 8,
      },
    },
  });
  return UniqueIdentifier as string;
};

export const registerPair = async (
  client: KmipClient,
  pair: { readonly pkcs8: Uint8Array; readonly spki: Uint8Array },
  wish: Omit<Wish, 'mask'> & { readonly privateMask: number; readonly publicMask: number },
): Promise<{ readonly privateKey: string; readonly publicKey: string }> => {
  const register = async (type: 'PrivateKey' | 'PublicKey', format: string, KeyMaterial: Uint8Array, mask: number): Promise<string> => {
    const { UniqueIdentifier } = await ask(client, 'Register', {
      ObjectType: type,
      Attributes: attributesOf({ ...wish, mask }),
      [type]: {
        KeyBlock: {
          KeyFormatType: format,
          KeyValue: { KeyMaterial },
          CryptographicAlgorithm: wish.algorithm,
          CryptographicLength: wish.length as number,
        },
      },
    });
    return UniqueIdentifier as string;
  };
  return {
    privateKey: await register('PrivateKey', 'PKCS_8', pair.pkcs8, wish.privateMask),
    publicKey: await register('PublicKey', 'X_509', pair.spki, wish.publicMask),
  };
};

export const registerSecret = async (
  client: KmipClient,
  value: Uint8Array,
  mask: number,
  more: readonly KmipAttribute[] = [],
): Promise<string> => {
  const { UniqueIdentifier } = await ask(client, 'Register', {
    ObjectType: 'SecretData',
    Attributes: [{ name: 'CryptographicUsageMask', value: mask }, { name: 'ActivationDate', value: PAST }, ...more],
    SecretData: { SecretDataType: 'Seed', KeyBlock: { KeyFormatType: 'Opaque', KeyValue: { KeyMaterial: value } } },
  });
  return UniqueIdentifier as string;
};

/** Key material of a symmetric key, secret or split key, raw. */
export const material = async (client: KmipClient, id: string): Promise<string> => {
  const answer = await ask(client, 'Get', { UniqueIdentifier: id });
  const object = (answer['SymmetricKey'] ?? answer['SecretData'] ?? answer['SplitKey']) as Fields;
  return toHex(((object['KeyBlock'] as Fields)['KeyValue'] as Fields)['KeyMaterial']);
};

export const VERSIONS: readonly KmipVersion[] = ['1.2', '1.3', '1.4', '2.0', '2.1', '3.0'];

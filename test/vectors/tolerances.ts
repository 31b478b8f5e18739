import { type Item, writeXml } from '@aegis/kmip-ttlv';

// Everything the comparison lets pass, and why (shared/kmip/vectors/README.md, "Compare strictly"). What is not here must be equal.

/** Where in a response an item stands. */
export interface Place {
  readonly family: string;
  /** Names of the tags from the message down, without numbers: `ResponseMessage/BatchItem/ResponsePayload/Data`. */
  readonly path: string;
  readonly operation: string;
  /** The request's batch item, placeholders filled. */
  readonly request: Item | undefined;
  /** What is known of the object the operation is about. */
  readonly subject: Subject;
}

/** An object of the case: whether the server made its material, and of which algorithm it is. */
export interface Subject {
  readonly generated: boolean;
  readonly algorithm: string | undefined;
  /** The request that made it, as XML: its Cryptographic Parameters stand for what later requests leave out. */
  readonly origin: string;
}

/**
 * `optional`: it may also be absent or additional. `any`: the value is not compared. `vendor`: as long, and with the same first two bytes. `present`: only that the item is there, not what is in it. `bound`: the value may be another one than the
 * file shows, but wherever the file shows that value again, the server must show the same.
 */
export type Leniency = 'optional' | 'vendor' | 'any' | 'present' | 'bound';

interface Tolerance {
  readonly reason: string;
  readonly leniency: Leniency;
  applies(place: Place): boolean;
}

const CIPHER_OUTPUT = /ResponsePayload\/(Data|IVCounterNonce|AuthenticatedEncryptionTag)$/;
const SECRET_OUTPUT =
  /\/(KeyMaterial|KeyValue|DigestValue|MACData|SignatureData|Data|Modulus|PrivateExponent|P|Q|X|D|QString|CertificateValue)$/;

const TOLERANCES: readonly Tolerance[] = [
  { reason: 'Result Message is text for people', leniency: 'any', applies: ({ path }) => path.endsWith('BatchItem/ResultMessage') },
  {
    reason: 'the server picks correlation values; some files of the same version show one and some do not',
    leniency: 'optional',
    applies: ({ path }) => path.endsWith('ResponseHeader/ServerCorrelationValue'),
  },
  {
    reason: 'the answer to Query is the lists of one particular server',
    leniency: 'present',
    applies: ({ path, operation }) => operation === 'Query' && path.endsWith('BatchItem/ResponsePayload'),
  },
  {
    reason: 'the versions that the peer of that server speaks',
    leniency: 'present',
    applies: ({ path, family }) => family === 'TC-Q-S2C-2' && path.endsWith('BatchItem/ResponsePayload'),
  },
  {
    reason: 'C_GetInfo tells the vendor: fixed-length texts after the version of Cryptoki',
    leniency: 'vendor',
    applies: ({ path, operation }) => operation === 'PKCS_11' && path.endsWith('ResponsePayload/PKCS_11OutputParameters'),
  },
  {
    reason: 'SKFF-M-10, 11 and 12 each name the random number generator of another server',
    leniency: 'present',
    applies: ({ path, family }) =>
      /^SKFF-M-1[012]$/.test(family) && /(RandomNumberGenerator|Attribute:Random Number Generator\/AttributeValue)$/.test(path),
  },
  {
    reason: 'the material is what the server generated in this run',
    leniency: 'bound',
    applies: ({ path, subject }) => subject.generated && SECRET_OUTPUT.test(path),
  },
  {
    reason: 'random bytes',
    leniency: 'bound',
    applies: ({ path, operation }) => operation === 'RNGRetrieve' && path.endsWith('ResponsePayload/Data'),
  },
  {
    reason: 'the request leaves the IV or the padding of the encryption to the server',
    leniency: 'bound',
    applies: (place) => place.operation === 'Encrypt' && CIPHER_OUTPUT.test(place.path) && isRandomised(place),
  },
  {
    reason: 'the signature scheme has a random number of its own (ECDSA, DSA, PSS)',
    leniency: 'bound',
    applies: (place) => place.operation === 'Sign' && place.path.endsWith('ResponsePayload/SignatureData') && isRandomSignature(place),
  },
];

export const leniencyAt = (place: Place): Leniency | undefined => TOLERANCES.find((one) => one.applies(place))?.leniency;

const texts = new WeakMap<Item, string>();
/** The request as XML, to be searched for fields and names. */
function textOf(item: Item | undefined): string {
  if (item === undefined) return '';
  const text = texts.get(item) ?? writeXml(item);
  texts.set(item, text);
  return text;
}

const isRandomised = (place: Place): boolean =>
  place.subject.algorithm === 'RSA' || /RandomIV type="Boolean" value="true"/.test(textOf(place.request) + place.subject.origin);

const isRandomSignature = (place: Place): boolean =>
  /^(EC|ECDSA|DSA)$/.test(place.subject.algorithm ?? '') ||
  /value="(?:PSS|RSASSA_PSS[^"]*|ECDSA[^"]*|DSA[^"]*)"/.test(textOf(place.request) + place.subject.origin);

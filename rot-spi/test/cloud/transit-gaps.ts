import type { ExpectedGap } from '../../src/contract-suite/index.js';

const gaps = (reason: string, ...names: string[]): ExpectedGap[] => names.map((what) => ({ what, reason }));

/** What Transit does not have, or Aegis does not ask of it. */
export const TRANSIT_GAPS: readonly ExpectedGap[] = [
  ...gaps(
    'Transit has no such key type',
    'spec:aes-192',
    'spec:des3-*',
    'spec:rsa-1024',
    'spec:ec-secp256k1',
    'spec:ed448',
    'spec:x*',
    'spec:ml-*',
    'spec:slh-*',
    'spec:hmac-sha1',
    'spec:hmac-sha3-*',
    'spec:secret',
  ),
  ...gaps('keys neither wrap keys nor derive any: they never meet in one place', 'power:wrapKey', 'power:unwrapKey', 'power:derive'),
  ...gaps('keys neither wrap keys nor derive any: they never meet in one place', 'algorithm:*-wrap', 'algorithm:*kw*', 'algorithm:hkdf-*'),
  ...gaps('Transit derives with a context of its own only', 'algorithm:pbkdf2-*', 'algorithm:sp800-108-*', 'algorithm:*-derive'),
  ...gaps('Transit has no key agreement', 'power:agree', 'algorithm:ecdh', 'algorithm:xdh'),
  ...gaps('Transit has no KEM', 'power:encapsulate', 'power:decapsulate', 'algorithm:ml-kem', 'algorithm:ml-dsa', 'algorithm:slh-dsa'),
  ...gaps('the engine is seeded by its own host', 'power:seedRandom'),
  ...gaps('Transit splits no keys', 'power:splitKey', 'power:joinKey'),
  ...gaps('Go reads a PSS salt of no bytes as “any”', 'parameter:pss-salt-zero'),
  ...gaps('hashing needs no key: the service does it', 'power:digest', 'hash:*'),
  ...gaps('Transit keeps no state between calls', 'power:*Operation', 'multi-part:*'),
  ...gaps(
    'Transit encrypts with an AEAD only',
    'algorithm:aes-c*',
    'algorithm:aes-e*',
    'algorithm:aes-ofb',
    'algorithm:one-time-pad',
    'algorithm:chacha20',
    'algorithm:des3-*',
  ),
  ...gaps(
    'Transit has OAEP with SHA-256 only',
    'algorithm:rsa-oaep-sha1',
    'algorithm:rsa-oaep-sha224',
    'algorithm:rsa-oaep-sha384',
    'algorithm:rsa-oaep-sha512',
  ),
  ...gaps('not offered by every version of Transit', 'algorithm:rsa-pkcs1', 'algorithm:rsa-raw', 'algorithm:rsa-pkcs1-raw'),
  ...gaps('Go has no such signature, or it is for old data only', 'algorithm:*-sha3-*', 'algorithm:*-sha1', 'algorithm:ed448'),
  ...gaps('an AES key makes no HMAC here: Transit would use another key', 'algorithm:hmac-*@aes-*'),
  ...gaps('Transit makes the IV itself', 'parameter:caller-iv', 'parameter:gcm-iv-length', 'parameter:chacha20-nonce'),
  ...gaps('the tag of Transit has 16 bytes', 'parameter:gcm-tag-length', 'parameter:chacha20-tag-length'),
  ...gaps('Transit takes HMAC keys from 32 bytes on', 'parameter:short-hmac-key', 'parameter:hmac-key-under-256-bits'),
  ...gaps('Transit masks with the hash of the signature', 'parameter:pss-mgf1-hash', 'parameter:oaep-mgf1-hash', 'parameter:oaep-label'),
];

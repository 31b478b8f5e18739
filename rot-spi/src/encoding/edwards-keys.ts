import { RootFault } from '../fault.js';
import type { KeySpecRow } from '../vocabulary/index.js';
import { readSpki } from './ec-keys.js';
import { invertModulo, modulo, powerModulo } from './modular.js';

/** Public keys of Ed25519 and Ed448 (RFC 8032 §5.1.3, §5.2.3). OpenSSL takes any 32 or 57 bytes. */
interface Edwards {
  readonly p: bigint;
  readonly a: bigint;
  readonly d: bigint;
  readonly bytes: number;
  /** y of the points whose order divides the cofactor: under such a key one signature fits any message. */
  readonly smallOrder: ReadonlySet<bigint>;
}
const P25519 = 2n ** 255n - 19n;
const P448 = 2n ** 448n - 2n ** 224n - 1n;
/** y of the points of order 8, up to sign. */
const Y8 = 0x7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd84d3d706a17c7n;

const CURVES: Readonly<Partial<Record<string, Edwards>>> = {
  ed25519: {
    p: P25519,
    a: -1n,
    d: modulo(-121_665n * invertModulo(121_666n, P25519), P25519),
    bytes: 32,
    smallOrder: new Set([0n, 1n, P25519 - 1n, Y8, P25519 - Y8]),
  },
  ed448: { p: P448, a: 1n, d: modulo(-39_081n, P448), bytes: 57, smallOrder: new Set([0n, 1n, P448 - 1n]) },
};

const malformed = (what: string): RootFault => new RootFault('invalid-argument', `the public key is not valid: ${what}`);

const curveOf = (spec: KeySpecRow): Edwards => {
  const curve = CURVES[spec.name];
  if (curve === undefined) throw malformed(`${spec.name} has no Edwards curve`);
  return curve;
};

const readY = (spec: KeySpecRow, spki: Uint8Array): bigint => {
  const bytes = Buffer.from(readSpki(spki).point).reverse();
  if (bytes.length !== curveOf(spec).bytes) throw malformed('it has a wrong length');
  bytes[0] = (bytes[0] ?? 0) & 0x7f; // the sign of x
  return BigInt(`0x${bytes.toString('hex')}`);
};

/** A canonical y that is not of small order; cheap enough for every call. */
export const checkEdwardsEncoding = (spec: KeySpecRow, spki: Uint8Array): void => {
  const curve = curveOf(spec);
  const y = readY(spec, spki);
  if (y >= curve.p) throw malformed('its encoding is not canonical');
  if (curve.smallOrder.has(y)) throw malformed('it is a point of small order');
};

/** That there is an x: x² = (1 − y²)/(a − d·y²) is a square. A modular power, so once per key. */
export const checkEdwardsPoint = (spec: KeySpecRow, spki: Uint8Array): void => {
  const { p, a, d } = curveOf(spec);
  const y = readY(spec, spki);
  const square = modulo((1n - y * y) * invertModulo(modulo(a - d * y * y, p), p), p);
  if (square !== 0n && powerModulo(square, (p - 1n) / 2n, p) !== 1n) throw malformed('it is not a point on the curve');
};

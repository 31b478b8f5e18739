import type { OperationResponse } from '../../domain/index.js';
import type { RawAnswer } from './routes/route.js';
import { publicKeyPem, toJwk } from './views.js';

export type PublicFormat = 'pem' | 'der' | 'jwk';

/** Media types that decide, first match wins; everything else, `*`/`*` included, gets PEM. */
const BY_MEDIA: readonly (readonly [RegExp, PublicFormat])[] = [
  [/^application\/(x-pem-file|pem-certificate-chain)$/, 'pem'],
  [/^application\/(jwk\+json|json)$/, 'jwk'],
  [/^application\/(octet-stream|pkix-spki)$/, 'der'],
];

/** Accept header → format: the first media range that names one (weights are ignored: there is nothing to rank). */
export function negotiatePublicFormat(accept: string): PublicFormat {
  for (const range of accept.slice(0, 1024).split(',')) {
    const media = (range.split(';')[0] ?? '').trim().toLowerCase();
    const found = BY_MEDIA.find(([pattern]) => pattern.test(media));
    if (found !== undefined) return found[1];
  }
  return 'pem';
}

export function publicKeyAnswer(response: OperationResponse<'get-public-key'>, format: PublicFormat): RawAnswer {
  const headers = { 'X-Aegis-Key-Version': String(response.version), Vary: 'Accept' };
  if (format === 'pem') return { type: 'application/x-pem-file', body: publicKeyPem(response.publicKey), headers };
  if (format === 'der') return { type: 'application/octet-stream', body: Buffer.from(response.publicKey), headers };
  const jwk = { kid: toKid(response.objectId, response.version), ...toJwk(response.publicKey) };
  return { type: 'application/jwk+json', body: JSON.stringify(jwk), headers };
}

/** Key id of a JWK: also the reference that names this version to the service. */
export const toKid = (objectId: string, version: number): string => `${objectId}@${version}`;

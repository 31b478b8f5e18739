import { fail } from '../../../domain/index.js';

const PEM = /-----BEGIN (?:NEW )?CERTIFICATE REQUEST-----([A-Za-z0-9+/=\s]+)-----END (?:NEW )?CERTIFICATE REQUEST-----/;
const BASE64 = /^[A-Za-z0-9+/\s]+={0,2}\s*$/;

/** A signing request as people have it (PEM, what stands around it ignored) or as base64 of its DER. */
export function requestDer(text: string): Uint8Array {
  const inner = PEM.exec(text)?.[1] ?? text;
  if (!BASE64.test(inner))
    throw fail('invalid-field', 'Not a PKCS#10 request in PEM or base64.', {
      field: 'csr',
      next: 'Send the file as openssl req wrote it.',
    });
  return new Uint8Array(Buffer.from(inner.replace(/\s/g, ''), 'base64'));
}

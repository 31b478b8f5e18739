/** Why a root refused or failed; a closed list. The message is for operators and never holds key material or payload. */
export const ROOT_FAULT_CODES = [
  'unsupported', // power, spec, algorithm or parameter this root does not have
  'invalid-argument', // malformed input: wrong IV length, bad DER, data not a block multiple …
  'reference-invalid', // reference does not open under this binding (tampered, swapped, flag flipped)
  'wrong-root', // reference made by another root or sealing key
  'usage-denied', // binding's usage does not allow it
  'not-exportable',
  'decryption-failed', // AEAD tag mismatch, bad padding, unwrap integrity failure: never says which
  'operation-unknown', // multi-part id unknown (finished, expired, or its host died)
  'key-not-found', // the token object is gone
  'limit-exceeded', // input, session or memory bound
  'unavailable', // host dead, token removed, time-out; safe to retry later
  'sealed', // no sealing key or PIN available; operator action needed
  'pin-rejected', // wrong or locked PIN: never retried by itself
  'internal',
] as const;
export type RootFaultCode = (typeof ROOT_FAULT_CODES)[number];

export class RootFault extends Error {
  readonly code: RootFaultCode;
  /** What the operator can do next. */
  readonly next: string | undefined;
  constructor(code: RootFaultCode, message: string, next?: string) {
    super(message);
    this.name = 'RootFault';
    this.code = code;
    this.next = next;
  }
}

import { RootFault } from '../../fault.js';
import { Retryable } from '../retry.js';

/** What AWS KMS refuses with (API reference, common errors), and what that means for a root. Anything else is an outage. */
type Meaning = 'key-not-found' | 'key-disabled' | 'decryption-failed' | 'denied' | 'busy' | 'invalid';

const MEANINGS: Readonly<Record<string, Meaning>> = {
  NotFoundException: 'key-not-found',
  DisabledException: 'key-disabled',
  KMSInvalidStateException: 'key-disabled',
  InvalidKeyUsageException: 'invalid',
  InvalidCiphertextException: 'decryption-failed',
  IncorrectKeyException: 'decryption-failed',
  KMSInvalidMacException: 'invalid',
  ValidationException: 'invalid',
  InvalidArnException: 'invalid',
  UnsupportedOperationException: 'invalid',
  TagException: 'invalid',
  LimitExceededException: 'busy',
  ThrottlingException: 'busy',
  Throttling: 'busy',
  TooManyRequestsException: 'busy',
  RequestLimitExceeded: 'busy',
  DependencyTimeoutException: 'busy',
  KMSInternalException: 'busy',
  KeyUnavailableException: 'busy',
  AccessDeniedException: 'denied',
  UnrecognizedClientException: 'denied',
  InvalidClientTokenId: 'denied',
  InvalidSignatureException: 'denied',
  SignatureDoesNotMatch: 'denied',
  IncompleteSignature: 'denied',
  MissingAuthenticationToken: 'denied',
  ExpiredTokenException: 'denied',
  ExpiredToken: 'denied',
  OptInRequired: 'denied',
  CredentialsProviderError: 'denied',
};

/** AWS names principals and keys in its messages, never values; one bounded line of them. */
const words = (error: Error): string => error.message.replaceAll(/\s+/g, ' ').trim().slice(0, 300);

export const toAwsFault = (error: unknown): Error => {
  if (error instanceof RootFault || error instanceof Retryable) return error;
  const named = error instanceof Error ? error : new Error('unknown error');
  const said = `AWS KMS: ${named.name}: ${words(named)}`;
  switch (MEANINGS[named.name]) {
    case 'key-not-found':
      return new RootFault('key-not-found', said, 'Check the ARN, the account and the region.');
    case 'key-disabled':
      return new RootFault('usage-denied', said, 'Enable the key, or cancel its deletion, in AWS KMS.');
    case 'decryption-failed':
      return new RootFault('decryption-failed', 'the ciphertext does not decrypt under this key');
    case 'denied':
      return new RootFault('sealed', said, 'Check the credentials of the service and the key policy.');
    case 'invalid':
      return new RootFault('invalid-argument', said);
    default:
      return new Retryable(new RootFault('unavailable', said, 'Check the network, the region and the quotas of the account.'));
  }
};

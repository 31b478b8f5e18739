/**
 * The right to read a secret, as a value. Only back ends import this module (an import rule in lint), so every place
 * that can see key bytes is found by searching for its name.
 */
export interface SecretAccess {
  readonly purpose: 'a root of trust opens its own secrets';
}
export const SECRET_ACCESS: SecretAccess = Object.freeze({ purpose: 'a root of trust opens its own secrets' });

/** Who acts. There is no anonymous agent: an agent always names the human it acts for. */
export const ROLES = ['admin', 'operator', 'auditor', 'user', 'kmip-client'] as const;
export type Role = (typeof ROLES)[number];

interface PrincipalBase {
  readonly id: string;
  readonly tenant: string;
  readonly name: string;
  readonly roles: readonly Role[];
  readonly tags: Readonly<Record<string, string>>;
  readonly disabled: boolean;
  readonly createdAt: number;
  readonly revision: number;
}
export type Human = PrincipalBase & { readonly kind: 'human' };
export type Service = PrincipalBase & { readonly kind: 'service' };
export type Agent = PrincipalBase & {
  readonly kind: 'agent';
  /** The human it acts for; resolved on every call. */
  readonly parentId: string;
  readonly purpose: string;
  readonly model?: string;
};
export type Principal = Human | Service | Agent;
export type PrincipalKind = Principal['kind'];

/** How the caller proved who it is, for policy, risk and audit. */
export interface Authentication {
  readonly method: 'token' | 'client-certificate' | 'password' | 'one-time-password' | 'hashed-password' | 'device' | 'socket' | 'internal';
  /** Token id or certificate fingerprint; never the secret. */
  readonly credentialId: string;
  readonly expiresAt?: number;
  /** What the server proves itself with in turn, for a hashed password; answered by `whoami` to the KMIP plane. */
  readonly serverProof?: Uint8Array;
  /** Token scope: action patterns this credential is limited to; absent = the principal's own rights. */
  readonly scope?: readonly string[];
}

/** Ways to prove oneself in a message, beside or instead of the connection's certificate. */
export const LOGIN_KINDS = ['password', 'hashed-password', 'one-time-password', 'device'] as const;
export type LoginKind = (typeof LOGIN_KINDS)[number];

export interface DeviceIdentifiers {
  readonly deviceIdentifier?: string;
  readonly networkIdentifier?: string;
  readonly machineIdentifier?: string;
  readonly mediaIdentifier?: string;
}

/** One credential of a message. Secrets are held only for the call. */
export type MessageCredential =
  | { readonly kind: 'password'; readonly login: string; readonly password: string }
  | { readonly kind: 'one-time-password'; readonly login: string; readonly password?: string; readonly code: string }
  | {
      readonly kind: 'hashed-password';
      readonly login: string;
      /** Microseconds since 1970, as the client hashed it: 8 bytes, big-endian. */
      readonly timestamp: bigint;
      readonly hash: 'sha256' | 'sha384' | 'sha512';
      /** Hash(S1 ‖ timestamp) ‖ S2 (KMIP 2.1 §9.9.5). */
      readonly value: Uint8Array;
    }
  | ({ readonly kind: 'device'; readonly login: string; readonly password?: string } & DeviceIdentifiers)
  | { readonly kind: 'token'; readonly token: string };

/** What a plane presents; the identity stage turns it into a principal. The token is held only for the call. */
export type Credential =
  | { readonly kind: 'bearer'; readonly token: string }
  | { readonly kind: 'certificate'; readonly fingerprint: string; readonly subject: string; readonly subjectAltNames: readonly string[] }
  | { readonly kind: 'internal'; readonly component: string }
  /** A short-lived PIN of a plane whose login takes nothing longer (PKCS#11 C_Login). */
  | { readonly kind: 'pin'; readonly tenant: string; readonly pin: string }
  /** A token or PIN that proved itself when a stateful connection logged in; looked up again on every call. */
  | { readonly kind: 'proven'; readonly tenant: string; readonly tokenId: string }
  /** Identity that configuration binds to a local socket, whose file permissions are the proof. */
  | { readonly kind: 'socket'; readonly socket: string; readonly tenant: string; readonly principalId: string }
  /** Every one of them has to hold, the certificate too where there is one, and all belong to one tenant; the last one says who acts. */
  | {
      readonly kind: 'message';
      readonly certificate?: {
        readonly kind: 'certificate';
        readonly fingerprint: string;
        readonly subject: string;
        readonly subjectAltNames: readonly string[];
      };
      readonly presented: readonly MessageCredential[];
    }
  | { readonly kind: 'none' };

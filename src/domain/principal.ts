/** Who acts. There is no anonymous agent: an agent always names the human it acts for. */
export const ROLES = ['admin', 'operator', 'auditor', 'user'] as const;
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
  readonly method: 'token' | 'client-certificate' | 'socket' | 'internal';
  /** Token id or certificate fingerprint; never the secret. */
  readonly credentialId: string;
  readonly expiresAt?: number;
  /** Token scope: action patterns this credential is limited to; absent = the principal's own rights. */
  readonly scope?: readonly string[];
}

/** What a plane presents; the identity stage turns it into a principal. The token is held only for the call. */
export type Credential =
  | { readonly kind: 'bearer'; readonly token: string }
  | { readonly kind: 'certificate'; readonly fingerprint: string; readonly subject: string; readonly subjectAltNames: readonly string[] }
  | { readonly kind: 'internal'; readonly component: string }
  | { readonly kind: 'none' };

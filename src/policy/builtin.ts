import type { PolicyDocument } from '../domain/index.js';
import { compileSync } from './compile.js';
import { parsePolicy } from './document.js';

/**
 * What the roles mean, and the rules no tenant can switch off. Immutable: it ships with the code, is shown by
 * `aegis policy show aegis-builtin`, and its deny statements win over every allow of a tenant's own documents.
 */
export const BUILTIN_NAME = 'aegis-builtin';
export const BUILTIN_SOURCE = `version: 1
description: The roles of Aegis, and what nobody may do whatever other documents say.
statements:
  # --- What nobody may do ---
  - id: tenants-are-made-by-default-admins
    description: Only an administrator of tenant "default" puts principals into another tenant.
    effect: deny
    principals: ["*"]
    actions: ["principals:create"]
    resources: ["*"]
    when: >-
      authentication.method != "internal" && has(request.tenant) && request.tenant != principal.tenant
      && !(principal.tenant == "default" && "admin" in principal.roles)
  - id: whole-service-is-default-tenants
    description: What touches every tenant at once belongs to tenant "default".
    effect: deny
    principals: ["*"]
    actions: ["service:backup", "roots:rotate-seal"]
    resources: ["*"]
    when: authentication.method != "internal" && principal.tenant != "default"
  - id: no-roles-beyond-ones-own
    description: Who is no administrator hands out only roles it has itself.
    effect: deny
    principals: ["*"]
    actions: ["principals:create", "principals:update"]
    resources: ["*"]
    when: >-
      authentication.method != "internal" && has(request.roles) && !("admin" in principal.roles)
      && request.roles.exists(r, !(r in principal.roles))
  - id: agents-change-no-principals
    description: An agent never makes, changes or removes principals, whoever it acts for.
    effect: deny
    principals: ["kind:agent"]
    actions: ["principals:create", "principals:update", "principals:delete", "policies:write"]
    resources: ["*"]
  - id: tokens-only-for-oneself
    description: A token is a way to act as its principal; only administrators issue them for others.
    effect: deny
    principals: ["*"]
    actions: ["tokens:issue"]
    resources: ["*"]
    when: >-
      authentication.method != "internal" && request.principalId != principal.id
      && !("admin" in principal.roles && principal.kind != "agent")

  - id: certificates-for-principals-by-admins
    description: A certificate for a principal is a way to act as it; only administrators have one issued.
    effect: deny
    principals: ["*"]
    actions: ["certificates:issue"]
    resources: ["*"]
    when: >-
      authentication.method != "internal" && has(request.principalId)
      && !("admin" in principal.roles && principal.kind != "agent")

  # --- admin: everything in its own tenant ---
  - id: admin
    effect: allow
    principals: ["role:admin"]
    actions: ["*"]
    resources: ["*"]

  # --- operator: runs keys and service, but takes no key out ---
  - id: operator-keys
    effect: allow
    principals: ["role:operator"]
    actions: ["keys:*"]
    resources: ["*"]
    when: action != "keys:export"
  - id: operator-service
    effect: allow
    principals: ["role:operator"]
    actions: ["service:*", "roots:read", "policies:read", "audit:read", "certificates:read", "certificates:read-crl"]
    resources: ["*"]

  # --- auditor: reads everything, uses nothing ---
  - id: auditor
    effect: allow
    principals: ["role:auditor"]
    actions:
      - "*:read"
      - keys:list
      - keys:read-public
      - certificates:read-crl
      - audit:*
      - policies:test
      - service:status
    resources: ["*"]

  # --- user: uses keys ---
  - id: user-keys
    effect: allow
    principals: ["role:user"]
    actions:
      - keys:sign
      - keys:verify
      - keys:encrypt
      - keys:decrypt
      - keys:mac
      - keys:mac-verify
      - keys:wrap
      - keys:wrap-target
      - keys:unwrap
      - keys:generate-data-key
      - keys:re-encrypt
      - keys:multi-part
      - keys:read
      - keys:read-public
      - keys:list
    resources: ["*"]
  - id: user-service
    effect: allow
    principals: ["role:user"]
    actions: ["service:random", "service:digest", "service:multi-part"]
    resources: ["*"]

  # --- kmip-client: a machine that keeps its own keys here, and takes them out where they are exportable ---
  - id: kmip-client-keys
    effect: allow
    principals: ["role:kmip-client"]
    actions: ["keys:*"]
    resources: ["*"]
  - id: kmip-client-certificates
    description: KMIP Certify and Re-certify. What they issue stands for nobody.
    effect: allow
    principals: ["role:kmip-client"]
    actions: ["certificates:issue", "certificates:renew", "certificates:read", "certificates:read-crl"]
    resources: ["*"]
  - id: kmip-client-service
    effect: allow
    principals: ["role:kmip-client"]
    actions: ["service:random", "service:seed-random", "service:digest", "service:multi-part", "service:log"]
    resources: ["*"]

  # --- everybody ---
  - id: oneself
    description: Who am I.
    effect: allow
    principals: ["*", "kind:agent", "system:*"]
    actions: ["service:whoami"]
    resources: ["*"]
  - id: creation-rules
    description: The tenant's rules for what is made through KMIP bind everybody, so that everybody may read them.
    effect: allow
    principals: ["*"]
    actions: ["service:read-creation-rules"]
    resources: ["*"]
  - id: own-principal
    effect: allow
    principals: ["*"]
    actions: ["principals:read"]
    resources: ["*"]
    when: operation == "get-principal" && has(request.id) && request.id == principal.id
  - id: own-tokens
    effect: allow
    principals: ["role:operator", "role:auditor", "role:user", "role:kmip-client"]
    actions: ["tokens:issue", "tokens:read"]
    resources: ["*"]
    when: has(request.principalId) && request.principalId == principal.id
  - id: own-tokens-revoke
    effect: allow
    principals: ["role:operator", "role:auditor", "role:user", "role:kmip-client"]
    actions: ["tokens:revoke"]
    resources: ["*"]
    when: has(request.owner) && request.owner == principal.id

  # --- the service's own components, the least each needs ---
  - id: scheduler
    effect: allow
    principals: ["system:scheduler", "system:reaper"]
    actions:
      - keys:activate
      - keys:revoke
      - keys:rotate
      - keys:destroy
      - keys:update
      - keys:read
      - keys:list
    resources: ["*"]
  - id: audit-signer
    effect: allow
    principals: ["system:audit", "system:sequencer", "system:audit-checkpoints"]
    actions: ["keys:create", "keys:activate", "keys:sign", "keys:read", "keys:read-public", "keys:list"]
    resources: ["*"]
  - id: bootstrap
    effect: allow
    principals: ["system:bootstrap", "system:recovery"]
    actions: ["principals:create", "principals:read", "tokens:issue", "tokens:revoke"]
    resources: ["*"]
  - id: jwks
    description: The public key set at /.well-known/jwks.json.
    effect: allow
    principals: ["system:jwks"]
    actions: ["keys:list", "keys:read-public"]
    resources: ["*"]
  - id: kmip-identity
    description: At the first start, the authority, the server's certificate and the first client identities.
    effect: allow
    principals: ["system:kmip"]
    actions:
      - certificates:*
      - principals:create
      - principals:read
    resources: ["*"]
  - id: revocation-lists
    description: The public lists at /.well-known/crl.
    effect: allow
    principals: ["system:crl"]
    actions: ["certificates:read-crl", "certificates:read"]
    resources: ["*"]
  - id: pkcs11
    description: Random bytes and digests of PKCS#11 sessions without login, and the end of session objects.
    effect: allow
    principals: ["system:pkcs11"]
    actions:
      - service:random
      - service:seed-random
      - service:digest
      - service:multi-part
      - keys:multi-part
      - keys:revoke
      - keys:destroy
      - keys:list
      - keys:read
    resources: ["*"]
  - id: pkcs11-public-session-objects-made
    description: Session objects of PKCS#11 sessions without login, where the socket allows them.
    effect: allow
    principals: ["system:pkcs11"]
    actions: ["keys:create", "keys:import"]
    resources: ["*"]
  - id: pkcs11-public-session-objects-used
    description: Only what was made so.
    effect: allow
    principals: ["system:pkcs11"]
    actions:
      - keys:encrypt
      - keys:decrypt
      - keys:sign
      - keys:verify
      - keys:mac
      - keys:mac-verify
      - keys:wrap
      - keys:wrap-target
      - keys:unwrap
      - keys:export
      - keys:update
    resources: ["*"]
    when: has(resource.owner) && resource.owner == principal.id
  - id: monitor
    effect: allow
    principals: ["system:monitor"]
    actions: ["service:status", "roots:read"]
    resources: ["*"]
`;

const compiled = compileSync(BUILTIN_NAME, parsePolicy(BUILTIN_SOURCE, true));
if (compiled.document === undefined)
  throw new Error(`the built-in policy is broken: ${compiled.problems.map((p) => `line ${p.line}: ${p.reason}`).join('; ')}`);
export const BUILTIN = compiled.document;

/** As the policy operations show it; made with the code, so it has no author in the database. */
export const builtinView = (tenant: string): PolicyDocument => ({
  tenant,
  name: BUILTIN_NAME,
  version: 1,
  source: BUILTIN_SOURCE,
  mode: 'enforce',
  active: true,
  createdAt: 0,
  createdBy: 'aegis',
});

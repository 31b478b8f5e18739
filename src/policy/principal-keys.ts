import type { Principal } from '../domain/index.js';
import type { PolicyQuestion } from '../guard/ports.js';

/**
 * What a caller looks up in the index. `binding`: every key that names it, for statements that restrict (deny, step-up).
 * `granting`: the keys whose allow statements count. They differ for agents, which get nothing from roles, tags or `*` but
 * only from statements that name agents, and for the service's own components, which only the built-in document serves.
 */
export interface PrincipalKeys {
  readonly granting: readonly string[];
  readonly binding: readonly string[];
}

const PREFIX = { human: 'user', service: 'service', agent: 'agent' } as const;
const SYSTEM = 'system:';

const ownKeys = (principal: Principal): string[] => [
  `kind:${principal.kind}`,
  `${PREFIX[principal.kind]}:${principal.name}`,
  `id:${principal.id}`,
];

const tagKeys = (principal: Principal): string[] =>
  Object.entries(principal.tags).flatMap(([name, value]) => [`tag:${name}=${value}`, `tag:${name}=*`]);

const make = (principal: Principal, parent: Principal | undefined): PrincipalKeys => {
  const own = ownKeys(principal);
  const general = ['*', ...principal.roles.map((role) => `role:${role}`), ...tagKeys(principal)];
  if (principal.kind !== 'agent') {
    const all = [...own, ...general];
    return { granting: all, binding: all };
  }
  const granting = parent === undefined ? own : [...own, `parent:${parent.name}`, 'parent:*'];
  return { granting, binding: [...granting, ...general] };
};

/** `system:scheduler` or `scheduler`, whichever the identity engine names its components. */
const systemKeys = (principal: Principal): PrincipalKeys => {
  const component = principal.name.startsWith(SYSTEM) ? principal.name.slice(SYSTEM.length) : principal.name;
  const granting = [`${SYSTEM}${component}`, `${SYSTEM}*`];
  return { granting, binding: [...granting, '*'] };
};

/** Principals are immutable and come out of a cache. Agents' keys depend on the parent too, so they are made per call. */
const CACHE = new WeakMap<Principal, PrincipalKeys>();

export const principalKeys = ({
  principal,
  parent,
  authentication,
}: Pick<PolicyQuestion, 'principal' | 'parent' | 'authentication'>): PrincipalKeys => {
  if (authentication.method === 'internal') return systemKeys(principal);
  if (principal.kind === 'agent') return make(principal, parent);
  let keys = CACHE.get(principal);
  if (keys === undefined) {
    keys = make(principal, undefined);
    CACHE.set(principal, keys);
  }
  return keys;
};

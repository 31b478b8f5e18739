import { createPublicKey } from 'node:crypto';
import type {
  AuditHealth,
  AuditRecord,
  ManagedObject,
  NewObject,
  ObjectDates,
  ObjectView,
  Page,
  PolicyDocument,
  Principal,
  RootView,
  TokenView,
  VersionView,
} from '../../domain/index.js';
import { fail } from '../../domain/index.js';
import { toBase64, toTimestamp } from './schema-kinds.js';
import { DAY_MS, type KeySummaryWire, type KeyWire } from './shapes.js';

/** Domain → wire and back, for the shapes that several routes share. */

/** `{ name: value }` unless the value is undefined. */
export const given = <N extends string, V>(name: N, value: V | undefined): { readonly [K in N]?: V } =>
  value === undefined ? {} : ({ [name]: value } as { readonly [K in N]: V });
const moment = <N extends string>(name: N, value: number | undefined): { readonly [K in N]?: string } =>
  given(name, value === undefined ? undefined : toTimestamp(value));

/** DER → PEM (RFC 7468). */
export function toPem(label: string, der: Uint8Array): string {
  const lines = toBase64(der).match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}
export const publicKeyPem = (spki: Uint8Array): string => toPem('PUBLIC KEY', spki);

/** SubjectPublicKeyInfo → JWK members (RFC 7517, RFC 8037). */
export function toJwk(spki: Uint8Array): Record<string, unknown> {
  try {
    return createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' }).export({ format: 'jwk' }) as Record<string, unknown>;
  } catch {
    throw fail('unsupported-operation', 'This kind of public key has no JWK form in this runtime', {
      field: 'format',
      next: 'Ask for format=pem or format=der.',
    });
  }
}

const versionView = (v: VersionView): KeyWire['versions'][number] => ({
  version: v.version,
  state: v.state,
  root: v.rootId,
  bits: v.bits,
  createdAt: toTimestamp(v.createdAt),
  ...moment('destroyedAt', v.destroyedAt),
  ...given('publicKey', v.publicKey === undefined ? undefined : publicKeyPem(v.publicKey)),
  provenance: v.provenance,
});

const datesView = (dates: ObjectDates) => ({
  createdAt: toTimestamp(dates.created),
  changedAt: toTimestamp(dates.lastChange),
  ...moment('initialDate', dates.initial),
  ...moment('activationDate', dates.activation),
  ...moment('processStartDate', dates.processStart),
  ...moment('protectStopDate', dates.protectStop),
  ...moment('deactivationDate', dates.deactivation),
  ...moment('compromiseOccurrenceDate', dates.compromiseOccurrence),
  ...moment('compromiseDate', dates.compromise),
  ...moment('destroyDueDate', dates.destroyDue),
  ...moment('destroyDate', dates.destroy),
  ...moment('archiveDate', dates.archive),
});

export const summaryView = (o: ManagedObject): KeySummaryWire => ({
  id: o.id,
  ...given('name', o.names[0]),
  names: [...o.names],
  type: o.type,
  ...given('spec', o.spec),
  state: o.state,
  archived: o.archived,
  usage: [...o.usage],
  exportable: o.exportable,
  root: o.rootId,
  protection: o.protection,
  currentVersion: o.currentVersion,
  ...given('description', o.description),
  tags: { ...o.tags },
  ...given('group', o.objectGroup),
  tenant: o.tenant,
  owner: o.owner,
  ...datesView(o.dates),
  ...given('usageLimits', o.usageLimits === undefined ? undefined : { ...o.usageLimits }),
  ...given(
    'rotation',
    o.rotation === undefined
      ? undefined
      : {
          ...given('everyDays', o.rotation.everyMs === undefined ? undefined : o.rotation.everyMs / DAY_MS),
          ...given('afterUses', o.rotation.afterUses),
        },
  ),
  uses: o.uses,
  links: o.links.map((l) => ({ type: l.type, target: l.target })),
  ...given('revocation', o.revocation === undefined ? undefined : { ...o.revocation }),
  attributes: { ...o.attributes },
  ...given('lease', o.lease === undefined ? undefined : { seconds: o.lease.seconds, until: toTimestamp(o.lease.until) }),
  ...given('publicKeyId', o.type === 'private-key' ? o.links.find((l) => l.type === 'public-key')?.target : undefined),
  ...given('content', o.content === undefined ? undefined : toBase64(o.content)),
  revision: o.revision,
});

export const keyView = (view: ObjectView & { readonly publicKeyId?: string }): KeyWire => ({
  ...summaryView(view.object),
  ...given('publicKeyId', view.publicKeyId ?? summaryView(view.object).publicKeyId),
  ...given('publicKey', view.publicKey === undefined ? undefined : publicKeyPem(view.publicKey)),
  versions: view.versions.map(versionView),
});

export const pageView = <T, W>(page: Page<T>, view: (item: T) => W): { items: W[]; next?: string } => ({
  items: page.items.map(view),
  ...given('next', page.next),
});

/** What the fields of `newObjectFields` decode to. */
interface NewObjectWire {
  readonly name?: string;
  readonly names?: readonly string[];
  readonly alias?: string;
  readonly aliases?: readonly string[];
  readonly group?: string;
  readonly activationDate?: number;
  readonly processStartDate?: number;
  readonly protectStopDate?: number;
  readonly deactivationDate?: number;
  readonly rotation?: { everyDays?: number; afterUses?: number };
}
type PlainNewObject = Pick<
  NewObject,
  'description' | 'usage' | 'activate' | 'exportable' | 'root' | 'protection' | 'tags' | 'usageLimits' | 'links' | 'attributes'
>;

export const toRotation = (rotation: { everyDays?: number; afterUses?: number }) => ({
  ...given('everyMs', rotation.everyDays === undefined ? undefined : Math.round(rotation.everyDays * DAY_MS)),
  ...given('afterUses', rotation.afterUses),
});

export function toNewObject(body: NewObjectWire & PlainNewObject): NewObject {
  const names = [
    ...(body.name === undefined ? [] : [body.name]),
    ...(body.names ?? []),
    ...(body.alias === undefined ? [] : [body.alias]),
    ...(body.aliases ?? []),
  ];
  const dates = {
    ...given('activation', body.activationDate),
    ...given('processStart', body.processStartDate),
    ...given('protectStop', body.protectStopDate),
    ...given('deactivation', body.deactivationDate),
  };
  return {
    ...(names.length === 0 ? {} : { names: [...new Set(names)] }),
    ...given('description', body.description),
    ...given('usage', body.usage),
    ...given('activate', body.activate),
    ...given('exportable', body.exportable),
    ...given('root', body.root),
    ...given('protection', body.protection),
    ...given('tags', body.tags),
    ...given('objectGroup', body.group),
    ...(Object.keys(dates).length === 0 ? {} : { dates }),
    ...given('usageLimits', body.usageLimits),
    ...given('rotation', body.rotation === undefined ? undefined : toRotation(body.rotation)),
    ...given('links', body.links),
    ...given('attributes', body.attributes),
  };
}

export const principalView = (p: Principal) => ({
  id: p.id,
  kind: p.kind,
  name: p.name,
  tenant: p.tenant,
  roles: [...p.roles],
  tags: { ...p.tags },
  disabled: p.disabled,
  createdAt: toTimestamp(p.createdAt),
  ...(p.kind === 'agent' ? { parentId: p.parentId, purpose: p.purpose, ...given('model', p.model) } : {}),
  revision: p.revision,
});

export const tokenView = (t: TokenView) => ({
  id: t.id,
  principalId: t.principalId,
  tenant: t.tenant,
  name: t.name,
  prefix: t.prefix,
  ...given('scope', t.scope === undefined ? undefined : [...t.scope]),
  createdAt: toTimestamp(t.createdAt),
  ...moment('expiresAt', t.expiresAt),
  ...moment('revokedAt', t.revokedAt),
  ...moment('lastUsedAt', t.lastUsedAt),
});

export const policyView = (p: PolicyDocument) => ({
  name: p.name,
  version: p.version,
  tenant: p.tenant,
  mode: p.mode,
  active: p.active,
  source: p.source,
  createdAt: toTimestamp(p.createdAt),
  createdBy: p.createdBy,
});

export const auditView = (r: AuditRecord) => ({
  id: r.id,
  at: toTimestamp(r.at),
  tenant: r.tenant,
  node: r.node,
  plane: r.plane,
  requestId: r.requestId,
  actor: { ...r.actor },
  operation: r.operation,
  action: r.action,
  ...given('resource', r.resource === undefined ? undefined : { ...r.resource }),
  outcome: r.outcome,
  ...given('fault', r.fault as string | undefined),
  ...given('statement', r.statement),
  ...given('risk', r.risk === undefined ? undefined : { score: r.risk.score, reasons: [...r.risk.reasons] }),
  ...given('source', r.source),
  ...given('durationUs', r.durationUs),
  ...given('detail', r.detail === undefined ? undefined : { ...r.detail }),
  ...given('chain', r.chain === undefined ? undefined : { ...r.chain }),
});

export const auditHealthView = (h: AuditHealth) => ({
  state: h.state,
  ...given('detail', h.detail),
  pending: h.pending,
  unsequenced: h.unsequenced,
  ...moment('lastDurableAt', h.lastDurableAt),
  ...moment('lastCheckpointAt', h.lastCheckpointAt),
});

export const rootView = (r: RootView) => ({
  id: r.id,
  kind: r.kind,
  state: r.state,
  isDefault: r.isDefault,
  hosts: r.hosts,
  ...given('detail', r.detail),
  ...given('fingerprint', r.fingerprint),
  ...given('description', r.description),
});

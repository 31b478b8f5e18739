import {
  type AuthorizedCall,
  type Change,
  type Handlers,
  type LoadedObject,
  type ManagedObject,
  materialise,
  type NewObject,
  type ObjectDates,
  type ObjectVersion,
  type Planned,
} from '../domain/index.js';
import { targetOf } from './chosen-key.js';
import { compensationFor } from './compensation.js';
import { badField } from './field-rules.js';
import { type KeyParts, PAIR_ATTRIBUTE, RESERVED_PREFIX } from './key-parts.js';
import { checkUsage } from './key-usages.js';
import { bindingOf, draftObject, nextObject, publicVersionOf, resourceOf, updateObject, versionOf } from './new-object.js';
import { loadCounterpart } from './pair.js';
import { generateMaterial, requireRenewable } from './rotate.js';
import { toView } from './views.js';

type Call = AuthorizedCall<'re-key'>;
type SettableDates = NonNullable<NewObject['dates']>;
const SETTABLE = ['activation', 'processStart', 'protectStop', 'deactivation'] as const;

/** KMIP 1.4 table 172: with an offset, activation = initial date + offset and the others move by the same difference. */
export const replacementDates = (old: ObjectDates, offsetMs: number | undefined, now: number): SettableDates => {
  const copied = Object.fromEntries(SETTABLE.flatMap((d) => (old[d] === undefined ? [] : [[d, old[d]]]))) as SettableDates;
  if (offsetMs === undefined) return copied;
  const activation = now + offsetMs;
  const shift = old.activation === undefined ? 0 : activation - old.activation;
  const moved = Object.fromEntries(Object.entries(copied).map(([name, at]) => [name, (at as number) + shift])) as SettableDates;
  return { ...moved, activation };
};

/** What the replacement takes from the existing object unless the request says otherwise (KMIP 1.4 §4.4). */
const copied = (object: ManagedObject, request: NewObject, offsetMs: number | undefined, now: number): NewObject => {
  const { activation, ...inherited } = replacementDates(object.dates, offsetMs, now);
  const dates = { ...inherited, ...(request.activate === true || activation === undefined ? {} : { activation }), ...request.dates };
  const own = Object.fromEntries(Object.entries(object.attributes).filter(([name]) => !name.startsWith(RESERVED_PREFIX)));
  return {
    ...(object.description === undefined ? {} : { description: object.description }),
    ...(object.objectGroup === undefined ? {} : { objectGroup: object.objectGroup }),
    ...(object.usageLimits === undefined ? {} : { usageLimits: { unit: object.usageLimits.unit, total: object.usageLimits.total } }),
    ...(object.rotation === undefined ? {} : { rotation: object.rotation }),
    tags: object.tags,
    exportable: object.exportable,
    names: object.names,
    ...request,
    attributes: { ...own, ...request.attributes },
    dates,
  };
};

/** Links that describe the old material do not describe the new one. */
const MATERIAL_LINKS = ['public-key', 'private-key', 'replacement', 'replaced', 'certificate', 'derivation-base', 'derived-key'];
const otherLinks = (object: ManagedObject) => object.links.filter((l) => !MATERIAL_LINKS.includes(l.type));

const replacement = async (
  parts: KeyParts,
  call: Call,
  old: ManagedObject,
  request: NewObject,
  ownNames: readonly string[],
): Promise<ManagedObject> => {
  // Names are on their way from the old object in the same transaction: they are no clash.
  const objects = {
    load: async (tenant: string, ref: string) => (ownNames.includes(ref) ? undefined : parts.objects.load(tenant, ref)),
    locate: parts.objects.locate,
    count: parts.objects.count,
  };
  const wanted = copied(old, request, call.request.offsetMs, call.now);
  const usage = old.spec === undefined ? old.usage : checkUsage(request.usage ?? old.usage, old.spec, old.type, 'usage');
  const blueprint = {
    type: old.type,
    ...(old.spec === undefined ? {} : { spec: old.spec }),
    usage,
    rootId: old.rootId,
    protection: old.protection,
  };
  const drafted = await draftObject({ objects }, call, wanted, blueprint);
  return { ...drafted, links: [{ type: 'replaced', target: old.id }, ...otherLinks(old), ...drafted.links] };
};

/** The existing object keeps its state; it loses its names and points to its replacement. */
const replacedBy = (old: ManagedObject, next: ManagedObject, now: number): ManagedObject =>
  nextObject(
    materialise(old, now),
    { names: [], links: [...old.links.filter((l) => l.type !== 'replacement'), { type: 'replacement', target: next.id }] },
    now,
  );

interface Half {
  readonly old: ManagedObject;
  readonly next: ManagedObject;
}
const planHalves = async (
  parts: KeyParts,
  call: Call,
  loaded: LoadedObject,
  counterpart: LoadedObject | undefined,
): Promise<readonly Half[]> => {
  const { key: _, offsetMs: __, publicKey: ownPublic, ...request } = call.request;
  const ownNames = [...loaded.object.names, ...(counterpart?.object.names ?? [])];
  const next = await replacement(parts, call, loaded.object, request, ownNames);
  if (counterpart === undefined) return [{ old: loaded.object, next }];
  // The public half follows in dates and activation; fields of its own it keeps.
  const shared: NewObject = {
    ...(request.activate === undefined ? {} : { activate: request.activate }),
    ...(request.dates === undefined ? {} : { dates: request.dates }),
  };
  const publicNext = { ...(await replacement(parts, call, counterpart.object, { ...shared, ...ownPublic }, ownNames)), exportable: true };
  return [
    { old: loaded.object, next: linked(next, 'public-key', publicNext) },
    { old: counterpart.object, next: linked(publicNext, 'private-key', next) },
  ];
};
const linked = (object: ManagedObject, type: string, other: ManagedObject): ManagedObject => ({
  ...object,
  attributes: { ...object.attributes, [PAIR_ATTRIBUTE]: other.id },
  links: [{ type, target: other.id }, ...object.links],
});

const reKey =
  (parts: KeyParts) =>
  async (call: Call): Promise<Planned<'re-key'>> => {
    const loaded = targetOf(call);
    const { object, versions } = loaded;
    const { request, now } = call;
    requireRenewable(object);
    checkRequest(object, request);
    const { fingerprint } = await parts.roots.describe(object.rootId);
    const halves = await planHalves(parts, call, loaded, await loadCounterpart(parts, object));
    const next = (halves[0] as Half).next;
    const bits = versions.find((v) => v.version === object.currentVersion)?.bits;
    const made = await generateMaterial(parts, next, 1, bits);
    const inserts: Change[] = [];
    let version: ObjectVersion | undefined;
    for (const { next: half } of halves) {
      const fresh =
        half === next
          ? versionOf(half, 1, made, { fingerprint }, now)
          : publicVersionOf(half, 1, made.publicKey, made.publicKey, { fingerprint }, { local: true, bits: made.bits, now });
      version ??= fresh;
      inserts.push({ kind: 'insert-object', object: half, versions: [fresh] });
    }
    const fresh = version as ObjectVersion;
    const publicKeyId = halves[1]?.next.id;
    return {
      response: { ...toView(next, [fresh], now), ...(publicKeyId === undefined ? {} : { publicKeyId }) },
      // Names are freed before they are taken.
      changes: [...halves.map(({ old, next: half }) => updateObject(old, replacedBy(old, half, now))), ...inserts],
      resource: resourceOf(next),
      detail: { replaces: object.id, root: object.rootId, state: next.state },
      ...(await compensationFor(parts, [{ rootId: object.rootId, reference: fresh.reference, binding: bindingOf(next, 1) }])),
    };
  };

const checkRequest = (object: ManagedObject, request: Call['request']): void => {
  if (request.root !== undefined && request.root !== object.rootId) {
    throw badField('root', 'A replacement is made in the root of trust of the existing key.', 'Leave root out, or create a new key.');
  }
  if (request.protection !== undefined && request.protection !== object.protection) {
    throw badField('protection', 'A replacement keeps the protection level.', 'Leave protection out, or create a new key.');
  }
  if (request.exportable === true && !object.exportable) {
    throw badField('exportable', 'A replacement cannot be more exportable than the key it replaces.', 'Create a new key instead.');
  }
  const { offsetMs } = request;
  if (offsetMs !== undefined && (!Number.isSafeInteger(offsetMs) || Math.abs(offsetMs) > MAX_OFFSET_MS)) {
    throw badField('offsetMs', 'Not an offset.', 'Give whole milliseconds, at most 100 years.');
  }
};
const MAX_OFFSET_MS = 100 * 366 * 86_400_000;

export const makeReKeyHandlers = (parts: KeyParts): Pick<Handlers, 're-key'> => ({ 're-key': reKey(parts) });

import { createHash } from 'node:crypto';
import type { CreatedKey, KeyBinding, RootDescription } from '@aegis/rot-spi';
import { KEY_SPECS, type KeySpec, type KeyUsage } from '@aegis/rot-spi/vocabulary';
import {
  type AuthorizedCall,
  type Change,
  effectiveState,
  type KeyHandle,
  type ManagedObject,
  type NewObject,
  type ObjectDates,
  type ObjectType,
  type ObjectVersion,
  type OperationName,
  type ProtectionLevel,
} from '../domain/index.js';
import {
  BOUNDS,
  badField,
  checkAttributes,
  checkDate,
  checkDateOrder,
  checkLinks,
  checkNames,
  checkRotation,
  checkTags,
  checkText,
  checkUsageLimits,
} from './field-rules.js';
import type { KeyParts } from './key-parts.js';
import { boundUsage } from './key-usages.js';
import { newObjectId } from './object-ids.js';

type Call = AuthorizedCall<OperationName>;

/** Everything that decides what a new object is, besides the caller's own fields. */
export interface Blueprint {
  readonly type: ObjectType;
  readonly spec?: KeySpec;
  readonly usage: readonly KeyUsage[];
  readonly rootId: string;
  readonly protection: ProtectionLevel;
  /** Attributes only the service sets. */
  readonly reserved?: Readonly<Record<string, unknown>>;
  readonly content?: Uint8Array;
  /** Where the caller brings them (register with an id). */
  readonly id?: KeyHandle;
  readonly version?: number;
  readonly initial?: number;
}

/** Dates and state of an object made now. An activation date in the past activates (KMIP 1.4 §3.22, transition 1). */
const datesOfNew = (
  request: Pick<NewObject, 'dates' | 'activate'>,
  now: number,
): { readonly dates: ObjectDates; readonly state: ManagedObject['state'] } => {
  const given = request.dates ?? {};
  if (request.activate === true && given.activation !== undefined && given.activation > now) {
    throw badField('dates.activation', 'An activation date in the future contradicts activate.', 'Leave one of them out.');
  }
  const activation = given.activation ?? (request.activate === true ? now : undefined);
  const picked = {
    ...(activation === undefined ? {} : { activation }),
    ...(given.processStart === undefined ? {} : { processStart: given.processStart }),
    ...(given.protectStop === undefined ? {} : { protectStop: given.protectStop }),
    ...(given.deactivation === undefined ? {} : { deactivation: given.deactivation }),
  };
  checkDateOrder(picked);
  const dates: ObjectDates = { created: now, initial: now, lastChange: now, ...picked };
  return { dates, state: effectiveState({ state: 'pre-active', dates }, now) };
};

const optionalFields = (request: NewObject) => ({
  ...(request.description === undefined ? {} : { description: checkText(request.description, 'description', BOUNDS.descriptionChars) }),
  ...(request.objectGroup === undefined ? {} : { objectGroup: checkText(request.objectGroup, 'objectGroup', BOUNDS.groupChars) }),
  ...(request.usageLimits === undefined ? {} : { usageLimits: checkUsageLimits(request.usageLimits) }),
  ...(request.rotation === undefined ? {} : { rotation: checkRotation(request.rotation) }),
});

/** The row of a new object: caller's fields checked, nothing made anywhere yet. */
export const draftObject = async (
  parts: Pick<KeyParts, 'objects'>,
  call: Call,
  request: NewObject,
  blueprint: Blueprint,
  nameField = 'names',
): Promise<ManagedObject> => {
  const { dates: own, state } = datesOfNew(request, call.now);
  const dates = blueprint.initial === undefined ? own : { ...own, initial: checkDate(blueprint.initial, 'initial') };
  const names = await checkNames(request.names, nameField, call.tenant, parts.objects);
  return {
    id: blueprint.id ?? newObjectId(call.now),
    tenant: call.tenant,
    type: blueprint.type,
    ...(blueprint.spec === undefined ? {} : { spec: blueprint.spec }),
    usage: blueprint.usage,
    state,
    archived: false,
    exportable: request.exportable === true,
    protection: blueprint.protection,
    rootId: blueprint.rootId,
    currentVersion: blueprint.version ?? 1,
    names,
    ...optionalFields(request),
    tags: checkTags(request.tags),
    dates,
    uses: 0,
    links: checkLinks(request.links),
    owner: call.principal.id,
    attributes: { ...checkAttributes(request.attributes), ...blueprint.reserved },
    ...(blueprint.content === undefined ? {} : { content: blueprint.content }),
    revision: 1,
  };
};

/** What the reference of one version is bound to; must come out the same for the whole life of the key. */
export const bindingOf = (object: ManagedObject, version: number): KeyBinding => ({
  objectId: object.id,
  version,
  tenant: object.tenant,
  spec: object.spec ?? 'secret',
  usage: boundUsage(object),
  exportable: object.exportable,
});

const sha256 = (bytes: Uint8Array): Uint8Array => new Uint8Array(createHash('sha256').update(bytes).digest());

/** Of the material where the root gives it, else of the public key. */
const digestOf = ({ digest, publicKey }: CreatedKey): Pick<ObjectVersion, 'digest'> => {
  if (digest !== undefined) return { digest };
  return publicKey === undefined ? {} : { digest: sha256(publicKey) };
};

export const versionOf = (
  object: ManagedObject,
  version: number,
  created: CreatedKey,
  root: Pick<RootDescription, 'fingerprint'>,
  now: number,
): ObjectVersion => ({
  objectId: object.id,
  tenant: object.tenant,
  version,
  state: 'current',
  rootId: object.rootId,
  rootFingerprint: root.fingerprint,
  reference: created.reference,
  ...(created.publicKey === undefined ? {} : { publicKey: created.publicKey }),
  ...digestOf(created),
  bits: created.bits,
  createdAt: now,
  provenance: created.provenance,
  revision: 1,
});

/** Version of an object that holds public bytes only. */
export const publicVersionOf = (
  object: ManagedObject,
  version: number,
  bytes: Uint8Array | undefined,
  publicKey: Uint8Array | undefined,
  root: Pick<RootDescription, 'fingerprint'>,
  from: { readonly local: boolean; readonly bits?: number; readonly now: number },
): ObjectVersion => ({
  objectId: object.id,
  tenant: object.tenant,
  version,
  state: 'current',
  rootId: object.rootId,
  rootFingerprint: root.fingerprint,
  reference: new Uint8Array(0),
  ...(publicKey === undefined ? {} : { publicKey }),
  bits: from.bits ?? (object.spec === undefined ? 8 * (bytes?.length ?? 0) : KEY_SPECS[object.spec].bits),
  createdAt: from.now,
  provenance: { local: from.local, alwaysSensitive: false, neverExtractable: false },
  ...(bytes === undefined ? {} : { digest: sha256(bytes) }),
  revision: 1,
});

/** An object's next row: revision and last change move with every update. */
export const nextObject = (object: ManagedObject, fields: Partial<ManagedObject>, now: number): ManagedObject => ({
  ...object,
  ...fields,
  dates: { ...(fields.dates ?? object.dates), lastChange: now },
  revision: object.revision + 1,
});
export const updateObject = (before: ManagedObject, after: ManagedObject, usage?: 'uses' | 'limits'): Change => ({
  kind: 'update-object',
  object: after,
  expect: before.revision,
  ...(usage === undefined ? {} : { usage }),
});
export const updateVersion = (before: ObjectVersion, fields: Partial<ObjectVersion>): Extract<Change, { kind: 'update-version' }> => ({
  kind: 'update-version',
  version: { ...before, ...fields, revision: before.revision + 1 },
  expect: before.revision,
});

/** Drops optional fields by name: `undefined` is not a value a row may hold. */
export const without = <T extends object, K extends keyof T>(value: T, ...keys: readonly K[]): Omit<T, K> => {
  const copy = { ...value };
  for (const key of keys) delete copy[key];
  return copy;
};

export const resourceOf = (object: Pick<ManagedObject, 'type' | 'id' | 'names'>) => ({
  type: object.type,
  id: object.id as KeyHandle as string,
  ...(object.names[0] === undefined ? {} : { name: object.names[0] }),
});

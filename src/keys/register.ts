import { KEY_SPECS, KEY_USAGES, type KeySpec, type KeyUsage } from '@aegis/rot-spi/vocabulary';
import {
  type AuthorizedCall,
  fail,
  type Handlers,
  type ManagedObject,
  type ObjectType,
  type ObjectVersion,
  type OperationRequest,
  type Planned,
  toKeyHandle,
} from '../domain/index.js';
import { isPair } from './chosen-key.js';
import { compensationFor } from './compensation.js';
import { knownSpec, wish } from './create.js';
import { badField, checkBytes } from './field-rules.js';
import type { KeyParts } from './key-parts.js';
import { checkUsage } from './key-usages.js';
import { bindingOf, draftObject, publicVersionOf, resourceOf, versionOf } from './new-object.js';
import { readCertificate, readCertificateRequest, readPublicKey } from './public-material.js';
import { registerAs, versionNumber } from './register-as.js';
import { toView } from './views.js';

type Call = AuthorizedCall<'register'>;
type Request = OperationRequest<'register'>;
interface Registered {
  readonly object: ManagedObject;
  readonly version: ObjectVersion;
}

/** Largest key taken in, bytes: an SLH-DSA or RSA-4096 PKCS#8 is far below. */
const MAX_KEY_BYTES = 65_536;

/** Id and version number, where the caller brings the id. */
const identityOf = (call: Call) => ({
  ...(call.request.id === undefined ? {} : { id: toKeyHandle(call.request.id.toLowerCase()), version: versionNumber(call) }),
  ...(call.request.initial === undefined ? {} : { initial: call.request.initial }),
});

const wantFormat = (request: Request, formats: readonly Request['format'][]): void => {
  if (!formats.includes(request.format)) {
    throw badField('format', `A ${request.type} is registered as ${formats.join(' or ')}.`, 'Correct the format.');
  }
};

/** Symmetric and private keys: bytes straight to the root's intake. */
const registerKey = async (parts: KeyParts, call: Call): Promise<Registered> => {
  const { request, now } = call;
  const { type } = request;
  if (request.format === 'opaque' && request.spec === undefined) return registerSealed(parts, call);
  if (request.spec === undefined) throw badField('spec', `A ${type} needs its spec.`, 'Say what kind of key it is.');
  const spec = knownSpec(request.spec);
  if (isPair(spec) !== (type === 'private-key')) throw badField('spec', `A ${type} cannot be ${spec}.`, 'Make type and spec agree.');
  wantFormat(request, type === 'private-key' ? ['pkcs8'] : ['raw']);
  checkBytes(request.material, 'material', MAX_KEY_BYTES, 1);
  const usage = checkUsage(request.usage, spec, type, 'usage');
  return importInto(parts, call, { type, spec, usage, format: type === 'private-key' ? 'pkcs8' : 'raw' }, now);
};

/** Secret data and everything whose inside Aegis does not interpret, keys of unknown algorithms among it: sealed as bytes. */
const registerSealed = async (parts: KeyParts, call: Call): Promise<Registered> => {
  const { request, now } = call;
  if (request.spec !== undefined && request.spec !== 'secret' && request.type !== 'split-key') {
    throw badField('spec', `A ${request.type} has no key spec.`, 'Leave spec out.');
  }
  wantFormat(request, ['opaque', 'raw']);
  checkBytes(request.material, 'material', parts.defaults.maxContentBytes, 1);
  const known = request.type === 'secret-data' || request.type === 'opaque-object';
  const usage = known
    ? checkUsage(request.usage ?? (request.type === 'secret-data' ? undefined : []), 'secret', request.type, 'usage')
    : recordedUsage(request.usage);
  return importInto(parts, call, { type: request.type, spec: 'secret', usage, format: 'raw' }, now);
};

interface Intake {
  readonly type: ObjectType;
  readonly spec: KeySpec;
  readonly usage: ManagedObject['usage'];
  readonly format: 'raw' | 'pkcs8';
}
const importInto = async (parts: KeyParts, call: Call, intake: Intake, now: number): Promise<Registered> => {
  const { request } = call;
  const { spec, type, usage, format } = intake;
  const root = await parts.roots.choose({ ...wish(request), spec, how: 'import', anyRoot: KEY_SPECS[spec].shape === 'secret' });
  const object = await draftObject(parts, call, request, {
    type,
    // An opaque object is not a key; its sealed bytes are still bound as a secret (bindingOf).
    ...(spec === 'secret' && type !== 'secret-data' ? {} : { spec }),
    usage,
    rootId: root.id,
    protection: root.protection,
    ...identityOf(call),
  });
  const number = object.currentVersion;
  const binding = bindingOf(object, number);
  const made = await parts.roots.call(root.id, 'importKey', { binding, format, material: request.material });
  return { object, version: versionOf(object, number, made, root.description, now) };
};

/** Public keys and certificates: bytes anyone may see; their root is where operations with them run. */
const registerPublic = async (parts: KeyParts, call: Call): Promise<Registered> => {
  const { request, now } = call;
  if (request.type === 'public-key' && request.format === 'opaque') return registerContent(parts, call);
  const certificate = request.type === 'certificate';
  wantFormat(request, [certificate ? 'x509' : 'spki']);
  const der = checkBytes(request.material, 'material', certificate ? parts.defaults.maxContentBytes : MAX_KEY_BYTES, 1);
  const read = certificate ? readCertificate(der, 'material') : { ...readPublicKey(der, 'material'), facts: {} };
  if (request.spec !== undefined && request.spec !== read.spec) {
    throw badField(
      'spec',
      `The material is ${read.spec ?? 'of another kind'}, not ${String(request.spec)}.`,
      'Leave spec out, or correct it.',
    );
  }
  const usage = read.spec === undefined ? [] : checkUsage(request.usage, read.spec, request.type, 'usage');
  const root = await homeOfPublic(parts, request);
  const object = await draftObject(
    parts,
    call,
    { ...request, exportable: true },
    {
      type: request.type,
      ...(read.spec === undefined ? {} : { spec: read.spec }),
      usage,
      rootId: root.id,
      protection: root.protection,
      reserved: read.facts,
      ...(certificate ? { content: new Uint8Array(der) } : {}),
      ...identityOf(call),
    },
  );
  const version = publicVersionOf(object, object.currentVersion, certificate ? der : read.spki, read.spki, root.description, {
    local: false,
    now,
  });
  return { object, version };
};

/** Certificate requests and templates: content without a key of ours. */
const registerContent = async (parts: KeyParts, call: Call): Promise<Registered> => {
  const { request, now } = call;
  wantFormat(request, request.type === 'certificate-request' ? ['x509', 'opaque'] : ['opaque']);
  if (request.spec !== undefined) throw badField('spec', `A ${request.type} of opaque bytes has no spec.`, 'Leave spec out.');
  const bytes = checkBytes(request.material, 'material', parts.defaults.maxContentBytes, request.type === 'template' ? 0 : 1);
  const spki = request.type === 'certificate-request' ? readCertificateRequest(bytes, 'material').spki : undefined;
  const usage = request.type === 'public-key' ? recordedUsage(request.usage) : [];
  if (request.type !== 'public-key' && (request.usage?.length ?? 0) > 0)
    throw badField('usage', `A ${request.type} has no usages.`, 'Leave usage out.');
  const root = await homeOfPublic(parts, request);
  const object = await draftObject(
    parts,
    call,
    { ...request, exportable: true },
    {
      type: request.type,
      usage,
      rootId: root.id,
      protection: root.protection,
      content: new Uint8Array(bytes),
      ...identityOf(call),
    },
  );
  return { object, version: publicVersionOf(object, object.currentVersion, bytes, spki, root.description, { local: false, now }) };
};

/** Usages of what no root can use are a record, nothing acts upon them. */
const recordedUsage = (usage: readonly KeyUsage[] | undefined): readonly KeyUsage[] =>
  KEY_USAGES.filter((u) => usage?.includes(u) === true);

const KEYED_TYPES: readonly ObjectType[] = ['symmetric-key', 'private-key', 'public-key', 'split-key', 'secret-data', 'pgp-key'];
/** An object whose value is held elsewhere (KMIP 2.1 §4.27): attributes and nothing else. */
const registerAbsent = async (parts: KeyParts, call: Call): Promise<Registered> => {
  const { request, now } = call;
  if (!KEYED_TYPES.includes(request.type)) throw badField('format', `A ${request.type} comes with its value.`, 'Send the value.');
  if (request.spec !== undefined) throw badField('spec', 'Without a value there is no key to use.', 'Leave spec out.');
  if (request.material.length > 0) throw badField('material', 'Absent means no bytes.', 'Leave the material empty.');
  const root = await homeOfPublic(parts, request);
  const object = await draftObject(parts, call, request, {
    type: request.type,
    usage: recordedUsage(request.usage),
    rootId: root.id,
    protection: root.protection,
    ...identityOf(call),
  });
  return { object, version: publicVersionOf(object, object.currentVersion, undefined, undefined, root.description, { local: false, now }) };
};

const homeOfPublic = async (parts: KeyParts, request: Request) => {
  // Nothing is imported; choosing a root that can generate AES keeps one path and one set of refusals.
  if (request.protection !== undefined) return parts.roots.choose({ ...wish(request), spec: 'aes-256', how: 'generate' });
  const id = request.root ?? parts.roots.defaultRoot;
  const description = await parts.roots.describe(id);
  return { id, description, protection: parts.roots.protectionOf(description) };
};

const BY_TYPE: Readonly<Record<ObjectType, (parts: KeyParts, call: Call) => Promise<Registered>>> = {
  'symmetric-key': registerKey,
  'private-key': registerKey,
  'public-key': registerPublic,
  certificate: registerPublic,
  'certificate-request': registerContent,
  template: registerContent,
  'secret-data': registerSealed,
  'opaque-object': registerSealed,
  'split-key': registerSealed,
  'pgp-key': registerSealed,
};
const PUBLIC_TYPES: readonly ObjectType[] = ['public-key', 'certificate', 'certificate-request', 'template'];

/**
 * Material that was taken in and overwritten. The guard makes a call again that lost a race (a replaced object changed); the
 * bytes are gone by then, and zeros would be a key like any other.
 */
const spent = new WeakSet<Uint8Array>();
const requireFresh = (material: Uint8Array): void => {
  if (!spent.has(material)) return;
  throw fail('conflict', 'The object changed while it was being replaced.', { next: 'Send it again.' });
};

export const makeRegisterHandlers = (parts: KeyParts): Pick<Handlers, 'register'> => ({
  register: async (call): Promise<Planned<'register'>> => {
    const { request, now } = call;
    const own = Object.hasOwn(BY_TYPE, request.type) ? BY_TYPE[request.type] : undefined;
    const run = own !== undefined && request.format === 'absent' ? registerAbsent : own;
    if (run === undefined) throw badField('type', 'No such object type.', `Choose from ${Object.keys(BY_TYPE).join(', ')}.`);
    requireFresh(request.material);
    try {
      if (request.id !== undefined || request.replaces !== undefined) return await registerAs(parts, call, run);
      const { object, version } = await run(parts, call);
      return {
        response: toView(object, [version], now),
        changes: [{ kind: 'insert-object', object, versions: [version] }],
        resource: resourceOf(object),
        detail: { type: object.type, spec: object.spec ?? null, root: object.rootId, exportable: object.exportable, state: object.state },
        ...(version.reference.length === 0
          ? {}
          : await compensationFor(parts, [{ rootId: object.rootId, reference: version.reference, binding: bindingOf(object, 1) }])),
      };
    } finally {
      // Secret bytes leave this process as soon as the root has them, or has refused them.
      if (!PUBLIC_TYPES.includes(request.type) && request.material instanceof Uint8Array) {
        request.material.fill(0);
        if (request.material.length > 0) spent.add(request.material);
      }
    }
  },
});

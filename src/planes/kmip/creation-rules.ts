import { type Fields, type KmipAttribute, liftMessage, type Message, readMessage, readTtlv, type Value, writeTtlv } from '@aegis/kmip-ttlv';
import { type KmipCall, refuse } from './contract.js';
import { writeResponse } from './wire.js';

// Set Constraints and Set Defaults (KMIP 2.1 §6.1.52, §6.1.53): kept for the tenant by the key service, applied here to what makes objects.

/** The structures as they were set, in the neutral form. */
export interface Rules {
  readonly constraints: Fields | undefined;
  readonly defaults: Fields | undefined;
}

export interface CreationRules {
  load(call: Pick<KmipCall, 'call' | 'caller' | 'now'>): Promise<Rules>;
  setConstraints(call: KmipCall, constraints: Fields | undefined): Promise<void>;
  setDefaults(call: KmipCall, defaults: Fields | undefined): Promise<void>;
}

/** Other nodes, and other connections of a tenant, see a change within this time. */
const FRESH_MS = 1_000;
const MAX_CACHED = 1_000;
const NO_RULES: Rules = { constraints: undefined, defaults: undefined };

/** Stored as the 2.1 message that would answer with them: exact, and readable by whatever reads KMIP. */
const store = (operation: 'GetConstraints' | 'Query', payload: Fields): string => {
  const message: Message = {
    kind: 'response',
    version: '2.1',
    header: { TimeStamp: 0n },
    items: [{ operation, fields: { ResultStatus: 'Success' }, payload }],
  };
  return Buffer.from(writeTtlv(writeResponse(message))).toString('base64');
};
const restore = (text: string | undefined): Fields | undefined =>
  text === undefined ? undefined : liftMessage(readMessage(readTtlv(new Uint8Array(Buffer.from(text, 'base64'))))).items[0]?.payload;

export function makeCreationRules(): CreationRules {
  const cache = new Map<string, { rules: Rules; readonly until: number }>();
  const keyOf = (call: Pick<KmipCall, 'caller'>): string => {
    const { credential, tenant } = call.caller;
    return credential.kind === 'certificate' ? `${tenant ?? ''}|${credential.fingerprint}` : '';
  };
  const set = async (call: KmipCall, request: { constraints?: string | null; defaults?: string | null }): Promise<void> => {
    await call.call('set-creation-rules', request);
    cache.clear();
  };
  return {
    async load(call) {
      const key = keyOf(call);
      const known = cache.get(key);
      if (key !== '' && known !== undefined && known.until > call.now) return known.rules;
      const stored = await call.call('get-creation-rules', {});
      const rules: Rules =
        stored.constraints === undefined && stored.defaults === undefined
          ? NO_RULES
          : {
              constraints: restore(stored.constraints)?.['Constraints'] as Fields | undefined,
              defaults: restore(stored.defaults)?.['DefaultsInformation'] as Fields | undefined,
            };
      if (cache.size >= MAX_CACHED) cache.clear();
      if (key !== '') cache.set(key, { rules, until: call.now + FRESH_MS });
      return rules;
    },
    setConstraints: (call, constraints) =>
      set(call, { constraints: constraints === undefined ? null : store('GetConstraints', { Constraints: constraints }) }),
    setDefaults: (call, defaults) =>
      set(call, { defaults: defaults === undefined ? null : store('Query', { DefaultsInformation: defaults }) }),
  };
}

type Attributes = readonly KmipAttribute[];
interface Part {
  /** Object type the rules go by. */
  readonly type: string;
  /** Payload field that the defaults are added to. */
  readonly field: string;
  /** Further payload fields whose attributes the object gets too. */
  readonly with: readonly string[];
}

/** The operations that make objects, and where their attributes are. */
function partsOf(operation: string, payload: Fields): readonly Part[] {
  const type = payload['ObjectType'];
  switch (operation) {
    case 'Create':
    case 'Register':
    case 'Import':
    case 'DeriveKey':
    case 'CreateSplitKey':
    case 'JoinSplitKey':
      return [{ type: String(type), field: 'Attributes', with: [] }];
    case 'CreateKeyPair':
      return [
        { type: 'PrivateKey', field: 'PrivateKeyAttributes', with: ['CommonAttributes'] },
        { type: 'PublicKey', field: 'PublicKeyAttributes', with: ['CommonAttributes'] },
      ];
    case 'Certify':
    case 'ReCertify':
      return [{ type: 'Certificate', field: 'Attributes', with: [] }];
    case 'CreateGroup':
      return [{ type: 'Group', field: 'Attributes', with: [] }];
    case 'CreateUser':
      return [{ type: 'User', field: 'Attributes', with: [] }];
    default:
      return [];
  }
}

const MAKES_OBJECTS: ReadonlySet<string> = new Set([
  ...['Create', 'CreateKeyPair', 'Register', 'Import', 'DeriveKey', 'CreateSplitKey', 'JoinSplitKey', 'Certify', 'ReCertify'],
  ...['CreateGroup', 'CreateUser'],
]);

const listOf = (payload: Fields, field: string): Attributes => (payload[field] ?? []) as Attributes;
const rowsOf = (structure: Fields | undefined, field: string): readonly Fields[] => (structure?.[field] ?? []) as readonly Fields[];

/** What a rule says it is for: no types, or no groups, means all. */
function appliesTo(rule: Fields, type: string, group: string | undefined): boolean {
  const one = rule['ObjectType'];
  const types = (rule['ObjectTypes'] as Fields | undefined)?.['ObjectType'] as readonly string[] | undefined;
  const groups = (rule['ObjectGroups'] as Fields | undefined)?.['ObjectGroup'] as readonly string[] | undefined;
  if (one !== undefined && one !== type) return false;
  if (types !== undefined && !types.includes(type)) return false;
  return groups === undefined || (group !== undefined && groups.includes(group));
}
const namesGroups = (rule: Fields): boolean => rule['ObjectGroups'] !== undefined;

const keyOfAttribute = (attribute: KmipAttribute): string => `${attribute.vendor ?? ''}|${attribute.name}`;
const groupOf = (attributes: Attributes): string | undefined =>
  attributes.find((one) => one.vendor === undefined && one.name === 'ObjectGroup')?.value as string | undefined;

/** The algorithm and length that a registered key states in its Key Block count as its attributes. */
function fromKeyBlock(payload: Fields): Attributes {
  for (const name of ['SymmetricKey', 'PrivateKey', 'PublicKey', 'SplitKey', 'SecretData', 'PGPKey']) {
    const block = (payload[name] as Fields | undefined)?.['KeyBlock'] as Fields | undefined;
    if (block === undefined) continue;
    return ['CryptographicAlgorithm', 'CryptographicLength'].flatMap((field) =>
      block[field] === undefined ? [] : [{ name: field, value: block[field] }],
    );
  }
  return [];
}

const same = (a: Value | undefined, b: Value | undefined): boolean => {
  if (a instanceof Uint8Array && b instanceof Uint8Array) return Buffer.compare(a, b) === 0;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return a === b;
  const left = Object.entries(a).filter(([, value]) => value !== undefined);
  const right = b as unknown as Record<string, Value>;
  return (
    left.length === Object.values(b).filter((value) => value !== undefined).length &&
    left.every(([name, value]) => same(value as Value, right[name]))
  );
};

/** A mask stays within what is allowed; of anything else one of the values is met. */
function meets(name: string, given: readonly (Value | undefined)[], allowed: readonly (Value | undefined)[]): boolean {
  if (given.length === 0) return false;
  if (name === '|CryptographicUsageMask') return given.every((value) => allowed.some((limit) => (Number(value) & ~Number(limit)) === 0));
  return given.every((value) => allowed.some((limit) => same(value, limit)));
}

function satisfies(rule: Fields, attributes: Attributes): boolean {
  const wanted = listOf(rule, 'Attributes');
  const names = new Set(wanted.map(keyOfAttribute));
  return [...names].every((name) =>
    meets(
      name,
      attributes.filter((one) => keyOfAttribute(one) === name).map((one) => one.value),
      wanted.filter((one) => keyOfAttribute(one) === name).map((one) => one.value),
    ),
  );
}

/** Rules for the object's group come before those for all groups. */
function choose(rules: readonly Fields[], type: string, group: string | undefined): readonly Fields[] {
  const applying = rules.filter((rule) => appliesTo(rule, type, group));
  const special = applying.filter(namesGroups);
  return special.length > 0 ? special : applying;
}

/**
 * The payload with defaults added where the client gave no value (KMIP 2.1 §7.22), refused when no constraint for such an object is
 * met (§7.6). The object's group decides first; of several constraints for the same objects one has to hold.
 */
export async function applyCreationRules(payload: Fields, call: KmipCall): Promise<Fields> {
  if (!MAKES_OBJECTS.has(call.operation)) return payload;
  const rules = await call.plane.rules.load(call);
  if (rules === NO_RULES) return payload;
  let made = payload;
  for (const part of partsOf(call.operation, payload)) {
    const own = [part.field, ...part.with].flatMap((field) => listOf(made, field));
    const group = groupOf(own);
    const present = new Set([...own, ...fromKeyBlock(made)].map(keyOfAttribute));
    const added = choose(rowsOf(rules.defaults, 'ObjectDefaults'), part.type, group)
      .flatMap((rule) => listOf(rule, 'Attributes'))
      .filter((attribute) => !present.has(keyOfAttribute(attribute)));
    if (added.length > 0) made = { ...made, [part.field]: [...listOf(made, part.field), ...added] };
    const constraints = choose(rowsOf(rules.constraints, 'Constraint'), part.type, group);
    const all = [...own, ...fromKeyBlock(made), ...added];
    if (constraints.length > 0 && !constraints.some((rule) => satisfies(rule, all)))
      throw refuse('ConstraintViolation', 'The object would break the constraints of this tenant (Get Constraints shows them).');
  }
  return made;
}

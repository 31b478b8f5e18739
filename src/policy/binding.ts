import { celMap } from '@bufbuild/cel';
import type { Authentication, ManagedObject, Principal } from '../domain/index.js';
import type { PolicyQuestion } from '../guard/ports.js';
import { celTimestamp } from './condition.js';

/** What a condition sees. Values are made when an expression first asks for them, and kept for the other conditions of the same decision. */

type Value = unknown;
type CelMapping = ReturnType<typeof celMap>;
const toMap = (entries: Iterable<readonly [string, Value]>): CelMapping => celMap(new Map(entries) as never);
const EMPTY = toMap([]);

/** CEL integers are 64-bit; JavaScript's whole numbers become those, so that arithmetic and comparison with literals work. */
const toValue = (value: unknown): Value => {
  if (typeof value === 'number') return Number.isSafeInteger(value) ? BigInt(value) : value;
  if (typeof value === 'string' || typeof value === 'boolean') return value;
  if (Array.isArray(value)) return value.map(toValue);
  if (typeof value === 'object' && value !== null) return toRecord(value as Readonly<Record<string, unknown>>);
  return undefined;
};

/** Undefined values are left out, so that `has()` is false for them. */
const toRecord = (record: Readonly<Record<string, unknown>>): CelMapping => {
  const entries: [string, Value][] = [];
  for (const name of Object.keys(record)) {
    const value = toValue(record[name]);
    if (value !== undefined) entries.push([name, value]);
  }
  return toMap(entries);
};

/** Principals come out of a cache and are immutable: each is translated once. */
const PRINCIPALS = new WeakMap<Principal, CelMapping>();
const principalMap = (principal: Principal | undefined): CelMapping => {
  if (principal === undefined) return EMPTY;
  let map = PRINCIPALS.get(principal);
  if (map === undefined) {
    const { id, name, kind, tenant, roles, tags } = principal;
    map = toRecord({
      id,
      name,
      kind,
      tenant,
      roles,
      tags,
      ...(principal.kind === 'agent' ? { purpose: principal.purpose, parentId: principal.parentId } : {}),
    });
    PRINCIPALS.set(principal, map);
  }
  return map;
};

const objectMap = (object: ManagedObject): CelMapping =>
  toRecord({
    id: object.id,
    type: object.type,
    name: object.names[0],
    names: object.names,
    tags: object.tags,
    spec: object.spec,
    state: object.state,
    root: object.rootId,
    protection: object.protection,
    exportable: object.exportable,
    owner: object.owner,
    usage: object.usage,
    archived: object.archived,
    group: object.objectGroup,
  });

/** An object about to be made, as far as the request tells. */
const draftMap = (request: Readonly<Record<string, unknown>>): CelMapping => {
  const { names, tags, spec, root, protection, exportable, usage, objectGroup, type } = request;
  return toRecord({
    name: Array.isArray(names) ? names[0] : undefined,
    names,
    tags,
    spec,
    root,
    protection,
    exportable,
    usage,
    group: objectGroup,
    type,
  });
};

const authenticationMap = ({ method, credentialId, expiresAt, scope }: Authentication): CelMapping =>
  toRecord({ method, credentialId, scope, ...(expiresAt === undefined ? {} : { expiresAt }) });

/** One decision's variables. A class for its lazy getters: most conditions touch two or three of them. */
export class Binding {
  readonly #question: PolicyQuestion;
  readonly #principal: Principal;
  readonly #parent: Principal | undefined;
  readonly #creates: boolean;
  #request: CelMapping | undefined;
  #resource: CelMapping | undefined;
  #authentication: CelMapping | undefined;
  #now: unknown;

  constructor(question: PolicyQuestion, principal: Principal, parent: Principal | undefined, creates: boolean) {
    this.#question = question;
    this.#principal = principal;
    this.#parent = parent;
    this.#creates = creates;
  }
  get principal(): CelMapping {
    return principalMap(this.#principal);
  }
  get parent(): CelMapping {
    return principalMap(this.#parent);
  }
  get action(): string {
    return this.#question.action;
  }
  get operation(): string {
    return this.#question.operation;
  }
  get tenant(): string {
    return this.#question.tenant;
  }
  get plane(): string {
    return this.#question.plane;
  }
  get source(): string {
    return this.#question.source;
  }
  get request(): CelMapping {
    this.#request ??= toRecord(this.#question.request);
    return this.#request;
  }
  get resource(): CelMapping {
    const { object, request } = this.#question;
    this.#resource ??= object !== undefined ? objectMap(object) : this.#creates ? draftMap(request) : EMPTY;
    return this.#resource;
  }
  get authentication(): CelMapping {
    this.#authentication ??= authenticationMap(this.#question.authentication);
    return this.#authentication;
  }
  get now(): unknown {
    this.#now ??= celTimestamp(this.#question.now);
    return this.#now;
  }
}

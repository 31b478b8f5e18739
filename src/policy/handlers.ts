import {
  type AuthorizedCall,
  type FaultError,
  fail,
  type Handlers,
  OPERATION_TABLE,
  type Page,
  type Planned,
  type PolicyDocument,
} from '../domain/index.js';
import type { PolicyQuestion } from '../guard/ports.js';
import type { IdentityStore, ObjectStore, PolicyStore } from '../storage/ports.js';
import { BUILTIN_NAME, builtinView } from './builtin.js';
import { type Compiled, type CompiledDocument, compilePolicy } from './compile.js';
import type { RunningPolicyEngine } from './engine.js';
import { CHECK_TIME_LIMIT_MS } from './parse-document.js';
import { invalidDocument, requireSource } from './source-rules.js';
import { testPolicy } from './test-policy.js';

export interface PolicyHandlerParts {
  readonly engine: RunningPolicyEngine;
  readonly store: PolicyStore;
  readonly identity: Pick<IdentityStore, 'principal'>;
  readonly objects: Pick<ObjectStore, 'load'>;
  readonly clock?: () => number;
}
export type PolicyHandlers = Pick<
  Handlers,
  'list-policies' | 'get-policy' | 'put-policy' | 'validate-policy' | 'delete-policy' | 'rollback-policy' | 'policy-history' | 'test-policy'
>;

const NAME_FORM = /^[a-z0-9][a-z0-9._-]{0,62}$/;
/** Names of what isn't in the store: the built-in document and files of the policy directory. */
const RESERVED = /^(?:aegis-|file\.)/;
const DEFAULT_PAGE = 100;
const MAX_PAGE = 1000;
/** Of all documents of one tenant together; bounds memory. */
const MAX_TENANT_STATEMENTS = 100_000;
const MAX_WAITING = 16;

interface Parts extends PolicyHandlerParts {
  readonly compile: (name: string, source: string) => Promise<Compiled>;
}

type Paging = { readonly limit?: number; readonly cursor?: string };
const toPage = ({ limit, cursor }: Paging): { limit: number; cursor?: string } => {
  if (limit !== undefined && (!Number.isSafeInteger(limit) || limit < 1 || limit > MAX_PAGE))
    throw fail('invalid-field', `\`limit\` must be a whole number from 1 to ${MAX_PAGE}.`, { field: 'limit' });
  return { limit: limit ?? DEFAULT_PAGE, ...(cursor === undefined ? {} : { cursor }) };
};

const notFound = (name: string): FaultError =>
  fail('not-found', `There is no policy \`${name}\`${RESERVED.test(name) ? ' in the database' : ''}.`, { next: 'List policies.' });

const requireName = (name: unknown): string => {
  if (typeof name === 'string' && NAME_FORM.test(name)) return name;
  throw fail('invalid-field', 'A policy name has 1 to 63 characters: lower-case letters, digits, `.`, `_`, `-`.', { field: 'name' });
};
const requireWritable = (value: unknown): string => {
  const name = requireName(value);
  if (!RESERVED.test(name)) return name;
  throw fail('permission-denied', 'Names that begin with `aegis-` or `file.` are not kept in the database.', {
    field: 'name',
    next:
      name === BUILTIN_NAME ? 'Write a document of your own; a deny statement in it narrows what the roles allow.' : 'Use another name.',
  });
};
/** The caller's own question, for the operation it is making on the document of that name. */
const ownQuestion = (call: AuthorizedCall, name: string): PolicyQuestion => ({
  principal: call.principal,
  authentication: call.authentication,
  operation: call.operation,
  action: OPERATION_TABLE[call.operation].action,
  tenant: call.tenant,
  plane: call.plane,
  source: call.source ?? 'local',
  now: call.now,
  request: { name, dryRun: false },
  ...(call.parent === undefined ? {} : { parent: call.parent }),
});

/** Whoever writes a policy must still be able to take it back. */
const refuseLockOut = (engine: RunningPolicyEngine, call: AuthorizedCall, name: string, document: CompiledDocument | null): void => {
  const decision = engine.decideAfter({ tenant: call.tenant, name, document }, ownQuestion(call, name));
  if (decision.effect === 'allow') return;
  throw fail('conflict', `After this change you could not change policies any more (${decision.reason}).`, {
    field: document === null ? 'name' : 'source',
    next: 'Exempt yourself from the statement, or have another administrator make the change.',
    statement: decision.statement,
  });
};

const latestVersion = async (store: PolicyStore, tenant: string, name: string): Promise<number> =>
  (await store.history(tenant, name, { limit: 1 })).items[0]?.version ?? 0;

/** Plans a new active version. `expectVersion` is what was read, so that two writers can't overwrite each other unseen. */
const planVersion = async (
  parts: Parts,
  call: AuthorizedCall,
  document: Pick<PolicyDocument, 'name' | 'source' | 'mode'>,
  current: PolicyDocument | undefined,
): Promise<Planned & { readonly response: PolicyDocument }> => {
  const version = (await latestVersion(parts.store, call.tenant, document.name)) + 1;
  const stored: PolicyDocument = {
    tenant: call.tenant,
    name: document.name,
    version,
    source: document.source,
    mode: document.mode,
    active: true,
    createdAt: call.now,
    createdBy: call.principal.id,
  };
  return {
    response: stored,
    changes: [{ kind: 'put-policy', document: stored, expectVersion: current?.version ?? 0 }],
    resource: { type: 'policy', id: document.name, name: document.name },
    detail: { toVersion: version, fromVersion: current?.version ?? 0, mode: document.mode },
    // The node that answered decides by the new document from here on.
    afterCommit: () => parts.engine.reload(),
  };
};

/** A tried version of a document that enforces would replace it, and what it forbids would be open meanwhile. */
const refuseDisarming = (mode: PolicyDocument['mode'], current: PolicyDocument | undefined): void => {
  if (mode !== 'dry-run' || current?.mode !== 'enforce') return;
  throw fail('conflict', `\`${current.name}\` is enforced; a dry-run version would take its place and stop it from deciding.`, {
    field: 'mode',
    next: 'Store the dry-run document under another name, beside the enforced one.',
  });
};

const refuseTooMany = (parts: Parts, tenant: string, document: CompiledDocument): void => {
  if (parts.engine.statements(tenant) + document.rules.length <= MAX_TENANT_STATEMENTS) return;
  throw fail('quota-exceeded', `A tenant's policies have at most ${MAX_TENANT_STATEMENTS} statements together.`, {
    next: 'Delete documents that are not needed.',
  });
};

const expectCurrent = (current: PolicyDocument | undefined, expected: number | undefined): void => {
  if (expected === undefined || expected === (current?.version ?? 0)) return;
  throw fail('conflict', `The active version is ${current?.version ?? 'none'}, not ${expected}.`, {
    next: 'Read it again, then repeat the change.',
  });
};

const put = async (parts: Parts, call: AuthorizedCall<'put-policy'>): Promise<Planned<'put-policy'>> => {
  const name = requireWritable(call.request.name);
  const source = requireSource(call.request.source);
  const mode = call.request.mode ?? 'enforce';
  if (mode !== 'enforce' && mode !== 'dry-run') throw fail('invalid-field', '`mode` is enforce or dry-run.', { field: 'mode' });
  const current = await parts.store.document(call.tenant, name);
  expectCurrent(current, call.request.expectedVersion);
  const compiled = await parts.compile(name, source);
  if (call.request.dryRun) {
    const version = (await latestVersion(parts.store, call.tenant, name)) + 1;
    const { principal, now: createdAt, tenant } = call;
    const response = {
      tenant,
      name,
      version,
      source,
      mode,
      active: false,
      createdAt,
      createdBy: principal.id,
      problems: compiled.problems,
    };
    return { response, changes: [], detail: { problems: compiled.problems.length } };
  }
  if (compiled.document === undefined) throw invalidDocument(compiled.problems);
  refuseDisarming(mode, current);
  refuseTooMany(parts, call.tenant, compiled.document);
  // Going over to dry-run, or staying there, takes a document's rules away rather than adding them.
  refuseLockOut(parts.engine, call, name, mode === 'enforce' ? compiled.document : null);
  const planned = await planVersion(parts, call, { name, source, mode }, current);
  return { ...planned, response: { ...planned.response, problems: [] } };
};

const rollback = async (parts: Parts, call: AuthorizedCall<'rollback-policy'>): Promise<Planned<'rollback-policy'>> => {
  const name = requireWritable(call.request.name);
  const { version } = call.request;
  if (!Number.isSafeInteger(version) || version < 1)
    throw fail('invalid-field', '`version` must be a whole number from 1.', { field: 'version' });
  const [old, current] = await Promise.all([parts.store.document(call.tenant, name, version), parts.store.document(call.tenant, name)]);
  if (old === undefined)
    throw fail('not-found', `There is no version ${version} of policy \`${name}\`.`, { field: 'version', next: 'List its history.' });
  const compiled = await parts.compile(name, old.source);
  if (compiled.document === undefined) throw invalidDocument(compiled.problems);
  refuseDisarming(old.mode, current);
  refuseLockOut(parts.engine, call, name, old.mode === 'enforce' ? compiled.document : null);
  return planVersion(parts, call, old, current);
};

const remove = async (parts: Parts, call: AuthorizedCall<'delete-policy'>): Promise<Planned<'delete-policy'>> => {
  const name = requireWritable(call.request.name);
  const current = await parts.store.document(call.tenant, name);
  if (current === undefined) throw notFound(name);
  refuseLockOut(parts.engine, call, name, null);
  return {
    response: {},
    changes: [{ kind: 'delete-policy', tenant: call.tenant, name }],
    resource: { type: 'policy', id: name, name },
    detail: { fromVersion: current.version },
    afterCommit: () => parts.engine.reload(),
  };
};

const get = async (parts: Parts, call: AuthorizedCall<'get-policy'>): Promise<PolicyDocument> => {
  const name = requireName(call.request.name);
  const { version } = call.request;
  if (name === BUILTIN_NAME && (version === undefined || version === 1)) return builtinView(call.tenant);
  const document = await parts.store.document(call.tenant, name, version);
  if (document === undefined) throw notFound(name);
  return document;
};

/** The built-in document ends the last page. */
const list = async (parts: Parts, call: AuthorizedCall<'list-policies'>): Promise<Page<PolicyDocument>> => {
  const page = await parts.store.list(call.tenant, toPage(call.request));
  return page.next === undefined ? { items: [...page.items, builtinView(call.tenant)] } : page;
};

/** Documents that callers want compiled, one after the other: a large one takes seconds of CPU. The engine's own don't queue here. */
const makeCompiler = () => {
  let waiting = 0;
  let last: Promise<unknown> = Promise.resolve();
  return (name: string, source: string): Promise<Compiled> => {
    if (waiting >= MAX_WAITING)
      throw fail('overloaded', 'Too many policy documents are being checked.', { next: 'Retry in some seconds.', retryAfterMs: 5000 });
    waiting += 1;
    const compiled = last.then(() => compilePolicy(name, source, CHECK_TIME_LIMIT_MS));
    last = compiled
      .catch(() => {})
      .finally(() => {
        waiting -= 1;
      });
    return compiled;
  };
};

/** The policy operations. Writing refuses what doesn't compile, what would lock the writer out, and what would disarm an enforced document. */
export const makePolicyHandlers = (given: PolicyHandlerParts): PolicyHandlers => handlersOf({ ...given, compile: makeCompiler() });

const handlersOf = (parts: Parts): PolicyHandlers => ({
  'list-policies': async (call) => ({ response: await list(parts, call), changes: [] }),
  'get-policy': async (call) => ({ response: await get(parts, call), changes: [] }),
  'put-policy': (call) => put(parts, call),
  'validate-policy': async (call) => ({
    response: { problems: (await parts.compile('candidate', requireSource(call.request.source))).problems },
    changes: [],
  }),
  'delete-policy': (call) => remove(parts, call),
  'rollback-policy': (call) => rollback(parts, call),
  'policy-history': async (call) => {
    const name = requireName(call.request.name);
    const page = await parts.store.history(call.tenant, name, toPage(call.request));
    if (page.items.length === 0 && call.request.cursor === undefined) throw notFound(name);
    return { response: page, changes: [] };
  },
  'test-policy': (call) => testPolicy(parts, call),
});

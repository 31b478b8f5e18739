import { type AuthorizedCall, fail, type Handlers, LOGIN_KINDS, type Planned } from '../domain/index.js';
import type { IdentityStore, SettingStore } from '../storage/ports.js';
import { refuseAgents, requireAdmin, requireCover, requireUnscoped } from './authority.js';
import * as read from './fields.js';
import { loginSetting, type StoredLogin, storeHashed, storePassword } from './login.js';
import { notFound } from './principal-handlers.js';

const MAX_LOGIN = 256;
const MIN_PASSWORD = 8;
const MAX_PASSWORD = 1_024;
const MIN_SEED_BYTES = 16;
const MAX_SEED_BYTES = 128;

/** The password's text; its bytes are overwritten, the text lasts as long as the call. */
function takePassword(bytes: Uint8Array): string {
  const text = Buffer.from(bytes).toString('utf8').normalize('NFC');
  bytes.fill(0);
  if (text.length < MIN_PASSWORD || text.length > MAX_PASSWORD)
    throw fail('invalid-field', `A password has ${MIN_PASSWORD} to ${MAX_PASSWORD} characters.`, { field: 'password' });
  return text;
}

function takeSeed(bytes: Uint8Array): string {
  const text = Buffer.from(bytes).toString('base64');
  const length = bytes.length;
  bytes.fill(0);
  if (length < MIN_SEED_BYTES || length > MAX_SEED_BYTES)
    throw fail('invalid-field', `A seed has ${MIN_SEED_BYTES} to ${MAX_SEED_BYTES} bytes.`, { field: 'otpSeed' });
  return text;
}

const required = (field: string, message: string) => fail('invalid-field', message, { field });

async function toStored(call: AuthorizedCall<'set-login'>, principalId: string, login: string): Promise<StoredLogin> {
  const { kind, password, otpSeed, device } = call.request;
  const text = password === undefined || password === null ? undefined : takePassword(password);
  const base = { principalId, kind };
  switch (kind) {
    case 'password':
      if (text === undefined) throw required('password', 'A password login has a password.');
      return { ...base, password: await storePassword(text) };
    case 'hashed-password':
      if (text === undefined) throw required('password', 'A hashed-password login has a password.');
      return { ...base, hashed: storeHashed(login, text) };
    case 'one-time-password':
      if (otpSeed === undefined) throw required('otpSeed', 'A one-time-password login has a seed.');
      return { ...base, otpSeed: takeSeed(otpSeed), ...(text === undefined ? {} : { password: await storePassword(text) }) };
    case 'device':
      return {
        ...base,
        ...(device === undefined ? {} : { device }),
        ...(text === undefined ? {} : { password: await storePassword(text) }),
      };
  }
}

export const makeLoginHandlers = (
  store: Pick<IdentityStore, 'principal'>,
  settings: Pick<SettingStore, 'setting'>,
): Pick<Handlers, 'set-login'> => ({
  'set-login': async (call): Promise<Planned<'set-login'>> => {
    const { request, tenant } = call;
    refuseAgents(call);
    requireAdmin(call, 'set logins');
    requireUnscoped(call, 'set logins');
    if (!LOGIN_KINDS.includes(request.kind))
      throw fail('invalid-field', `\`kind\` is one of ${LOGIN_KINDS.join(', ')}.`, { field: 'kind' });
    const login = read.readText(request.login, 'login', MAX_LOGIN);
    const principal = typeof request.principalId === 'string' ? await store.principal(tenant, request.principalId) : undefined;
    if (principal === undefined || principal.tenant !== tenant) throw notFound('principal');
    requireCover(call, principal.roles, 'This principal has');
    const name = loginSetting(request.kind, login);
    const before = ((await settings.setting(tenant, name)) ?? undefined) as StoredLogin | undefined;
    // A login that stands for somebody is taken from him first, so that a mistyped name does not hand it over.
    if (before !== undefined && before.principalId !== principal.id && (await store.principal(tenant, before.principalId)) !== undefined)
      throw fail('already-exists', 'This login belongs to another principal.', {
        field: 'login',
        next: 'Remove it there first, or choose another name.',
      });
    const value = request.password === null ? null : await toStored(call, principal.id, login);
    return {
      response: { principalId: principal.id, kind: request.kind, login, set: value !== null },
      changes: [{ kind: 'put-setting', tenant, name, value }],
      resource: { type: 'principal', id: principal.id, name: principal.name },
      detail: { principalId: principal.id },
    };
  },
});

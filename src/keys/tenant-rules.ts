import { fail, type Handlers } from '../domain/index.js';
import type { SettingStore } from '../storage/ports.js';

const SETTING = 'creation-rules';
const MAX_RULE_CHARS = 64 * 1024;
const MAX_MESSAGE_CHARS = 1_024;

interface StoredRules {
  readonly constraints?: string;
  readonly defaults?: string;
}
const FIELDS = ['constraints', 'defaults'] as const;

/** What a wire keeps for a tenant and the service does not interpret, and what clients say to the audit trail. */
export const makeTenantHandlers = (
  settings: Pick<SettingStore, 'setting'>,
): Pick<Handlers, 'get-creation-rules' | 'set-creation-rules' | 'log-message'> => {
  const rulesOf = async (tenant: string): Promise<StoredRules> => ((await settings.setting(tenant, SETTING)) ?? {}) as StoredRules;
  return {
    'get-creation-rules': async (call) => ({ response: await rulesOf(call.tenant), changes: [] }),
    'set-creation-rules': async (call) => {
      const before = await rulesOf(call.tenant);
      const after: Record<string, string> = {};
      for (const field of FIELDS) {
        const given = call.request[field];
        const value = given === undefined ? before[field] : given;
        if (value === undefined || value === null) continue;
        if (typeof value !== 'string' || value.length > MAX_RULE_CHARS)
          throw fail('payload-too-large', 'The rules are too large.', { field, next: 'Use fewer or smaller rules.' });
        after[field] = value;
      }
      return { response: after, changes: [{ kind: 'put-setting', tenant: call.tenant, name: SETTING, value: after }] };
    },
    'log-message': async (call) => {
      const { message } = call.request;
      if (typeof message !== 'string' || message === '' || message.length > MAX_MESSAGE_CHARS)
        throw fail('invalid-field', `A message has 1 to ${MAX_MESSAGE_CHARS} characters.`, { field: 'message' });
      return { response: {}, changes: [] };
    },
  };
};

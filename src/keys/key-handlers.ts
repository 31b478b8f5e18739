import type { Handlers } from '../domain/index.js';
import type { IdentityStore, ObjectStore, SettingStore } from '../storage/ports.js';
import { makeAdoptHandlers } from './adopt.js';
import { makeAuthorityHandlers } from './certificate-authority.js';
import { makeIssueHandlers } from './certificate-authority-issue.js';
import { makeCertificateRecordHandlers } from './certificate-authority-records.js';
import { makeCertificateHandlers } from './certificates.js';
import { makeCipherHandlers } from './cipher.js';
import { makeCreateHandlers } from './create.js';
import { makeDeriveHandlers } from './derive.js';
import { KEY_DEFAULTS, type KeyDefaults, type KeyParts } from './key-parts.js';
import { makeKeylessHandlers } from './keyless.js';
import { makeLifecycleHandlers } from './lifecycle-operations.js';
import { makeMultiPartHandlers } from './multi-part.js';
import { makeReKeyHandlers } from './re-key.js';
import { makeReadHandlers } from './read.js';
import { makeRegisterHandlers } from './register.js';
import { makeRestoreHandlers } from './restore.js';
import { makeRootHandlers } from './root-operations.js';
import type { RootRegistry } from './root-registry.js';
import { makeRotateHandlers } from './rotate.js';
import { makeSignHandlers } from './sign.js';
import { makeSplitHandlers } from './splits.js';
import { makeTenantHandlers } from './tenant-rules.js';
import { makeTransitHandlers } from './transit.js';
import { makeUpdateHandlers } from './update.js';
import { makeUsageAccount } from './usage-accounting.js';
import { makeWrapHandlers } from './wrap.js';

export interface KeyHandlerOptions {
  readonly objects: Pick<ObjectStore, 'load' | 'locate' | 'count'>;
  readonly roots: RootRegistry;
  readonly settings: SettingStore;
  readonly principals?: Pick<IdentityStore, 'principal'>;
  readonly defaults?: Partial<KeyDefaults>;
  readonly clock?: () => number;
}

/** Every operation on objects, keys and roots. Handlers plan; the journal commits what they planned. */
export const makeKeyHandlers = (options: KeyHandlerOptions) => {
  const parts: KeyParts = {
    objects: options.objects,
    roots: options.roots,
    settings: options.settings,
    ...(options.principals === undefined ? {} : { principals: options.principals }),
    defaults: { ...KEY_DEFAULTS, ...options.defaults },
    clock: options.clock ?? Date.now,
  };
  const account = makeUsageAccount();
  return {
    ...makeAdoptHandlers(parts),
    ...makeCreateHandlers(parts),
    ...makeRegisterHandlers(parts),
    ...makeReadHandlers(parts, account),
    ...makeUpdateHandlers(parts),
    ...makeLifecycleHandlers(parts),
    ...makeRotateHandlers(parts),
    ...makeReKeyHandlers(parts),
    ...makeCipherHandlers(parts, account),
    ...makeSignHandlers(parts, account),
    ...makeWrapHandlers(parts, account),
    ...makeTransitHandlers(parts),
    ...makeDeriveHandlers(parts),
    ...makeSplitHandlers(parts),
    ...makeKeylessHandlers(parts),
    ...makeMultiPartHandlers(parts, account),
    ...makeCertificateHandlers(parts, account),
    ...makeAuthorityHandlers(parts),
    ...makeIssueHandlers(parts),
    ...makeCertificateRecordHandlers(parts),
    ...makeRootHandlers(parts),
    ...makeRestoreHandlers(parts),
    ...makeTenantHandlers(parts.settings),
  } satisfies Partial<Handlers>;
};
export type KeyHandlers = ReturnType<typeof makeKeyHandlers>;

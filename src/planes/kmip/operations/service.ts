import type { KmipHandler } from '../contract.js';
import { ASYNC_HANDLERS } from './service-async.js';
import { LOGIN_HANDLERS } from './service-login.js';
import { MISC_HANDLERS } from './service-misc.js';
import { PROVISION_HANDLERS } from './service-provision.js';
import { discoverVersions, query } from './service-query.js';
import { RULE_HANDLERS } from './service-rules.js';
import { USER_HANDLERS } from './service-users.js';

/** Query, Discover Versions, Ping, Login and the rest that touches no managed object. */
export const SERVICE_HANDLERS: Readonly<Record<string, KmipHandler>> = {
  Query: query,
  DiscoverVersions: discoverVersions,
  ...MISC_HANDLERS,
  ...LOGIN_HANDLERS,
  ...ASYNC_HANDLERS,
  ...RULE_HANDLERS,
  ...USER_HANDLERS,
  ...PROVISION_HANDLERS,
};

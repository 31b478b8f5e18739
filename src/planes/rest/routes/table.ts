import { AUDIT_ROUTES } from './audit.js';
import { CERTIFICATE_ROUTES } from './certificates.js';
import { IDENTITY_ROUTES } from './identity.js';
import { KEY_ROUTES } from './keys.js';
import { MULTI_PART_ROUTES } from './multi-part.js';
import { POLICY_ROUTES } from './policies.js';
import type { Route } from './route.js';
import { SERVICE_ROUTES } from './service.js';
import { USE_ROUTES } from './use.js';

/** Every guarded route of the REST plane. Pages without an operation (health, metrics, documents) are in pages.ts. */
export const ROUTES: readonly Route[] = [
  ...KEY_ROUTES,
  ...USE_ROUTES,
  ...MULTI_PART_ROUTES,
  ...IDENTITY_ROUTES,
  ...CERTIFICATE_ROUTES,
  ...POLICY_ROUTES,
  ...AUDIT_ROUTES,
  ...SERVICE_ROUTES,
];

import type { KmipHandler } from './contract.js';
import { ATTRIBUTE_HANDLERS } from './operations/attributes.js';
import { CERTIFICATE_HANDLERS } from './operations/certificates.js';
import { CRYPTOGRAPHY_HANDLERS } from './operations/cryptography.js';
import { LIFECYCLE_HANDLERS } from './operations/lifecycle.js';
import { MATERIAL_HANDLERS } from './operations/material.js';
import { SERVICE_HANDLERS } from './operations/service.js';

/** One row per operation, by the name of kmip-ttlv's OPERATIONS. Query, the support matrix and the tests derive from its keys. */
export const KMIP_HANDLERS: ReadonlyMap<string, KmipHandler> = new Map(
  [SERVICE_HANDLERS, LIFECYCLE_HANDLERS, ATTRIBUTE_HANDLERS, MATERIAL_HANDLERS, CRYPTOGRAPHY_HANDLERS, CERTIFICATE_HANDLERS].flatMap(
    (rows) => Object.entries(rows),
  ),
);

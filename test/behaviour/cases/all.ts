import type { BehaviourCase } from './behaviour-case.js';
import { certificateCases } from './certificates.js';
import { creationCases } from './creation.js';
import { derivationCases } from './derivation.js';
import { encryptionCases } from './encryption.js';
import { importExportCases } from './import-export.js';
import { lifecycleCases } from './lifecycle.js';
import { metadataCases } from './metadata.js';
import { multiPartCases } from './multi-part.js';
import { signatureCases } from './signatures.js';
import { versionCases } from './versions.js';

/** The one suite every wire over every root of trust must pass. */
export const BEHAVIOUR_CASES: Readonly<Record<string, readonly BehaviourCase[]>> = {
  creation: creationCases,
  encryption: encryptionCases,
  signatures: signatureCases,
  versions: versionCases,
  lifecycle: lifecycleCases,
  metadata: metadataCases,
  'import and export': importExportCases,
  derivation: derivationCases,
  certificates: certificateCases,
  'multi-part': multiPartCases,
};

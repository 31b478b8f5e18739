import type { KmipVersion } from '@aegis/kmip-ttlv';
import type { KmipTarget } from '../kmip-target.js';

/** What one product does, replayed in its own version (shared/kmip/server-notes.md). */
export interface ClientSequence {
  readonly client: string;
  readonly version: KmipVersion;
  /** What would break it. */
  readonly about: string;
  run(target: KmipTarget): Promise<void>;
}

import type { Credential } from '../../domain/index.js';
import type { KmipCall, KmipConnection } from './contract.js';

/** A client that was recognised is asked for again after this long, for what tells nothing but what the server can. */
const RECOGNISED_MS = 1_000;
const MEMORY = 'recognised';

interface Recognised {
  readonly fingerprint: string;
  readonly until: number;
}

/** Whether the guard has recognised this certificate on this connection a moment ago. */
export function isRecognised(connection: Pick<KmipConnection, 'memory'>, credential: Credential, now: number): boolean {
  const known = connection.memory.get(MEMORY) as Recognised | undefined;
  return credential.kind === 'certificate' && known?.fingerprint === credential.fingerprint && known.until > now;
}

/**
 * Makes sure that the guard knows the caller, for operations that touch no object (Query, Discover Versions, Ping). Clients poll them by the
 * thousand, so that a certificate which the guard recognised a moment ago on this connection is not asked for again, nor recorded: KMIP 2.1
 * §6.1.36 lets Ping go unlogged. Credentials of a header are checked every time.
 */
export async function recognise(call: KmipCall): Promise<void> {
  const { credential } = call.caller;
  if (isRecognised(call.connection, credential, call.now)) return;
  await call.call('whoami', {});
  if (credential.kind === 'certificate')
    call.connection.memory.set(MEMORY, { fingerprint: credential.fingerprint, until: call.now + RECOGNISED_MS } satisfies Recognised);
}

import { compareVersions } from '@aegis/kmip-ttlv';
import { FaultError, type ObjectLink } from '../../../domain/index.js';
import { type KmipCall, type KmipRefusal, refuse } from '../contract.js';
import type { Wiper } from './key-model.js';

/** KMIP 2.1 §11.49 Bad Password; TC-PKCS12-2 of 1.4, which has no such reason, says Permission Denied. */
export const badPassword = (call: KmipCall): KmipRefusal =>
  refuse(
    compareVersions(call.version, '2.0') < 0 ? 'PermissionDenied' : 'BadPassword',
    'PKCS#12 needs one PKCS#12 Password Link to an active Secret Data object that opens it.',
  );

/** The password that a PKCS#12 Password Link means. Left with the wiper. */
export const linkedPassword = async (links: readonly ObjectLink[], call: KmipCall, wiper: Wiper): Promise<Uint8Array> => {
  const linked = links.filter(({ type }) => type === 'pkcs12-password');
  const [link] = linked;
  if (link === undefined || linked.length !== 1) throw badPassword(call);
  try {
    const { object, material } = await call.call('export-key', { key: link.target });
    // A link may lead to anything; the bytes of a certificate are the store's own and not ours to overwrite.
    if (object?.type !== 'secret-data') throw badPassword(call);
    wiper.take(material);
    if (object.state !== 'active') throw badPassword(call);
    return material;
  } catch (error) {
    throw error instanceof FaultError && ['not-found', 'destroyed', 'archived'].includes(error.fault.code) ? badPassword(call) : error;
  }
};

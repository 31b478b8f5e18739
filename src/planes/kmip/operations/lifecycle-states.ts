import { enumerationValue, type Fields } from '@aegis/kmip-ttlv';
import { fail, type ManagedObject } from '../../../domain/index.js';
import { toMs } from '../attributes/new-object.js';
import { keptOne } from '../attributes/stored-values.js';
import { targetOf } from '../attributes/target.js';
import { revocationReasonOf } from '../attributes/vocabulary.js';
import { type KmipHandler, refuse } from '../contract.js';

const answer = (id: string): Fields => ({ UniqueIdentifier: id });

/** KMIP 1.4 §11.20: templates have no life. */
const requireLife = ({ type }: ManagedObject): void => {
  if (type === 'template') throw fail('wrong-object-type', 'A template is not activated.', { next: 'Name it in a request.' });
};

/** Activate (KMIP 2.1 §6.1.1, 1.4 §4.19). */
export const activate: KmipHandler = async (payload, call) => {
  const key = await targetOf(payload, call);
  await call.call('activate', { key }, (object) => {
    requireLife(object);
    return { key };
  });
  return answer(key);
};

/** Revoke (KMIP 2.1 §6.1.44, 1.4 §4.20). */
export const revoke: KmipHandler = async (payload, call) => {
  const key = await targetOf(payload, call);
  const { RevocationReasonCode: code, RevocationMessage: message } = (payload['RevocationReason'] ?? {}) as Fields;
  const reason = revocationReasonOf(code);
  if (reason === undefined) throw refuse('InvalidField', 'The Revocation Reason Code is not known.');
  const compromise = reason === 'key-compromise' || reason === 'ca-compromise';
  const occurred = payload['CompromiseOccurrenceDate'];
  await call.call('revoke', {
    key,
    reason,
    ...(typeof message === 'string' ? { message } : {}),
    // Only a compromise has a date of its own; clients send one with other reasons too.
    ...(compromise && occurred !== undefined ? { compromisedAt: toMs(occurred, 'Compromise Occurrence Date') } : {}),
  });
  return answer(key);
};

/** Deactivate (KMIP 3.0): ends what is active without calling it revoked. */
export const deactivate: KmipHandler = async (payload, call) => {
  const key = await targetOf(payload, call);
  const { object } = await call.call('get-object', { key });
  if (object.state !== 'active') throw refuse('WrongKeyLifecycleState', 'Only what is active can be deactivated.');
  const reason = payload['DeactivationReason'] ?? ({ DeactivationReasonCode: 'Unspecified' } as Fields);
  const { processStart, protectStop } = object.dates;
  await call.call('update-object', {
    key,
    revision: object.revision,
    dates: {
      deactivation: call.now,
      ...(protectStop !== undefined && protectStop > call.now ? { protectStop: call.now } : {}),
      ...(processStart !== undefined && processStart > call.now ? { processStart: call.now } : {}),
    },
    attributes: keptOne('DeactivationReason', knownReason(reason as Fields)),
  });
  return answer(key);
};
const knownReason = (reason: Fields): Fields => {
  const { DeactivationReasonCode: code } = reason;
  if (typeof code === 'string' && enumerationValue('DeactivationReasonCode', code) === undefined) {
    throw refuse('InvalidField', 'The Deactivation Reason Code is not known.');
  }
  return reason;
};

/** Destroy (KMIP 2.1 §6.1.15, 1.4 §4.21). What it was called may name a new object: clients use their names again. */
export const destroy: KmipHandler = async (payload, call) => {
  const key = await targetOf(payload, call);
  await call.call('destroy', { key, releaseNames: true });
  return answer(key);
};

/** Obliterate (KMIP 3.0): nothing is left that could be named, so that nothing is named in the answer (BL-M-20-30). */
export const obliterate: KmipHandler = async (payload, call) => {
  const key = await targetOf(payload, call);
  await call.call('destroy', { key, obliterate: true });
  return {};
};

/** Archive (KMIP 2.1 §6.1.4, 1.4 §4.22). */
export const archive: KmipHandler = async (payload, call) => {
  const key = await targetOf(payload, call);
  const { object } = await call.call('get-object', { key });
  if (object.archived) throw refuse('ObjectArchived', 'The object is archived already.');
  await call.call('archive', { key });
  return answer(key);
};

/** Recover (KMIP 2.1 §6.1.42, 1.4 §4.23). */
export const recover: KmipHandler = async (payload, call) => {
  const key = await targetOf(payload, call);
  await call.call('recover', { key });
  return answer(key);
};

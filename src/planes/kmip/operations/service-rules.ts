import type { Fields } from '@aegis/kmip-ttlv';
import type { KmipHandler } from '../contract.js';

const setConstraints: KmipHandler = async (payload, call) => {
  await call.plane.rules.setConstraints(call, payload['Constraints'] as Fields | undefined);
  return {};
};

const getConstraints: KmipHandler = async (_payload, call) => {
  const { constraints } = await call.plane.rules.load(call);
  return { Constraints: constraints ?? {} };
};

/** No Defaults Information removes what was set (KMIP 2.1 §6.1.53). */
const setDefaults: KmipHandler = async (payload, call) => {
  await call.plane.rules.setDefaults(call, payload['DefaultsInformation'] as Fields | undefined);
  return {};
};

export const RULE_HANDLERS: Readonly<Record<string, KmipHandler>> = {
  SetConstraints: setConstraints,
  GetConstraints: getConstraints,
  SetDefaults: setDefaults,
};

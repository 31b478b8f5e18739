import { type KmipHandler, refuse } from '../contract.js';
import { recognise } from '../recognise.js';

const ping: KmipHandler = async (_payload, call) => {
  await recognise(call);
  return {};
};

/** The message goes where every other record of what clients did goes: into the audit trail. */
const log: KmipHandler = async (payload, call) => {
  await call.call('log-message', { message: String(payload['LogMessage']) });
  return {};
};

/** Begin and End frame a test and change nothing. Reset would remove objects: there is no such thing here. */
const interop: KmipHandler = async (payload, call) => {
  if (!call.settings.interop) throw refuse('OperationNotSupported', 'Interop is for tests and switched off here (kmip.interop).');
  await call.call('whoami', {});
  if (payload['InteropFunction'] === 'Reset') throw refuse('FeatureNotSupported', 'This server does not reset itself for tests.');
  return {};
};

/**
 * KMIP 2.1 §6.1.54. The role that the server shall take for what follows on this connection: as `Client` it sends requests and the
 * peer answers. The answer to this operation still goes out in the old roles.
 */
const setEndpointRole: KmipHandler = async (payload, call) => {
  await call.call('whoami', {});
  const wanted = payload['EndpointRole'];
  if (wanted !== 'Client' && wanted !== 'Server') throw refuse('InvalidField', 'The Endpoint Role is Client or Server.');
  if (wanted === 'Client' && !call.connection.exchangesRoles)
    throw refuse('FeatureNotSupported', 'The roles of an HTTPS connection are fixed.');
  call.connection.role = wanted === 'Client' ? 'server' : 'client';
  if (wanted === 'Client') await call.plane.notifications.listen(call);
  else call.plane.notifications.leave(call.connection);
  return { EndpointRole: wanted };
};

export const MISC_HANDLERS: Readonly<Record<string, KmipHandler>> = {
  Ping: ping,
  Log: log,
  Interop: interop,
  SetEndpointRole: setEndpointRole,
};

import { KMIP_VERSIONS, versionNumbers, versionOf } from '@aegis/kmip-ttlv';
import type { Fields, KmipHandler } from '../contract.js';

/** KMIP 1.4 §4.26: no list asks for all, newest first; a list for what both speak, in the server's order of preference. */
const discoverVersions: KmipHandler = async (payload, call) => {
  await call.call('whoami', {});
  const asked = (payload['ProtocolVersion'] ?? []) as readonly Fields[];
  const wanted = new Set(asked.map((one) => versionOf(Number(one['ProtocolVersionMajor']), Number(one['ProtocolVersionMinor']))));
  const spoken = [...KMIP_VERSIONS].reverse().filter((version) => asked.length === 0 || wanted.has(version));
  return {
    ProtocolVersion: spoken.map((version) => {
      const { major, minor } = versionNumbers(version);
      return { ProtocolVersionMajor: major, ProtocolVersionMinor: minor };
    }),
  };
};

const ping: KmipHandler = async (_payload, call) => {
  await call.call('whoami', {});
  return {};
};

/** Query, Discover Versions, Ping, Login and the rest that touches no managed object. */
export const SERVICE_HANDLERS: Readonly<Record<string, KmipHandler>> = {
  DiscoverVersions: discoverVersions,
  Ping: ping,
};

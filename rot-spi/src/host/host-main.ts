import type { RootConfig } from '../config.js';
import type { RootOfTrust } from '../contract.js';
import { RootFault } from '../fault.js';
import { runHost } from './run-host.js';

/** Entry of a root-of-trust host process. Only the back end that is asked for is loaded. */
const open = async (config: RootConfig): Promise<RootOfTrust> => {
  switch (config.kind) {
    case 'software':
      return (await import('../software/index.js')).openSoftwareRoot(config);
    case 'pkcs11':
      return (await import('../pkcs11/index.js')).openPkcs11Root(config);
    case 'cloud-envelope':
      return (await import('../cloud-envelope/index.js')).openCloudRoot(config);
    default:
      throw new RootFault('unsupported', 'unknown kind of root of trust', "set the root's kind to software, pkcs11 or cloud-envelope");
  }
};

runHost(open);

import type { Fields } from '@aegis/kmip-ttlv';
import type { ManagedObject } from '../../../domain/index.js';
import { storedOne } from '../attributes/stored-values.js';
import { refuse } from '../contract.js';
import { writePkcs8 } from '../material/asn1-keys.js';
import { writePkcs12 } from '../material/pkcs12.js';
import { linkedPassword } from '../material/pkcs12-password.js';
import { blockOf } from '../material/stored-block.js';
import { type Exported, modelFor } from '../material/write-object.js';
import type { Retrieval } from './get.js';

// Get of a private key as PKCS#12: the key and the certificates that its PKCS#12 Certificate Links lead to.

/** Longest chain that is followed; links are the client's and may run in a circle. */
const MAX_CERTIFICATES = 16;

const chainOf = async (object: ManagedObject, { call }: Retrieval): Promise<readonly Uint8Array[]> => {
  const chain: Uint8Array[] = [];
  const seen = new Set<string>([object.id]);
  let at: ManagedObject | undefined = object;
  while (at !== undefined && chain.length < MAX_CERTIFICATES) {
    const links: ManagedObject['links'] = at.links;
    const target = (
      links.find(({ type }) => type === 'pkcs12-certificate') ?? links.find(({ type }) => type === 'certificate' && at === object)
    )?.target;
    if (target === undefined || seen.has(target)) break;
    seen.add(target);
    const { object: certificate, material } = await call.call('export-key', { key: target });
    if (certificate?.type !== 'certificate') throw refuse('InvalidField', 'A PKCS#12 Certificate Link leads to something else.');
    chain.push(material);
    at = certificate;
  }
  return chain;
};

/** The Private Key of the response; its Key Value is the file. */
export const exportPkcs12 = async (retrieval: Retrieval, object: ManagedObject, exported: Exported): Promise<Fields> => {
  const { call, wiper } = retrieval;
  // Public bytes may be the store's own; only a private key's are a copy that is ours to overwrite.
  if (object.type === 'private-key') wiper.take(exported.material);
  const pkcs8 = object.type === 'private-key' ? writePkcs8(modelFor(blockOf(object), object, exported, wiper)) : undefined;
  if (pkcs8 === undefined) throw refuse('KeyFormatTypeNotSupported', 'Only a private key is given as PKCS#12.');
  wiper.take(pkcs8);
  const password = await linkedPassword(object.links, call, wiper);
  const name = storedOne(object.attributes, 'PKCS_12FriendlyName');
  const file = writePkcs12(pkcs8, await chainOf(object, retrieval), password, typeof name === 'string' ? name : 'alias');
  return { KeyBlock: { KeyFormatType: 'PKCS_12', KeyValue: file } };
};

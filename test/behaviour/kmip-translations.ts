import type { OperationName } from '../../src/domain/index.js';
import { bytes, idOf, locate, onObject, type Translation, unsaid, view } from './kmip-asking.js';
import { begin, decrypt, encrypt, finish, mac, part, sign, valid, verify } from './kmip-cryptography.js';
import {
  agree,
  archive,
  createKey,
  createKeyPair,
  derive,
  destroy,
  exportKey,
  getPublicKey,
  registered,
  reKey,
  revoke,
  unwrap,
  updateObject,
  wrap,
} from './kmip-managed-objects.js';
import { hashParameters } from './kmip-words.js';

/** Operation of the algebra → requests of KMIP. What has no row no case uses. */
export const KMIP_TRANSLATIONS: { readonly [O in OperationName]?: Translation<O> } = {
  'create-key': createKey,
  'create-key-pair': createKeyPair,
  register: registered,
  'import-key': unsaid('import-wrapping key'),
  'create-import-wrapping-key': unsaid('import-wrapping key'),
  'get-object': async ({ key }, ask) => view(await idOf(key, ask), ask),
  locate: async ({ name = '' }, ask) => ({
    items: await Promise.all((await locate(name, ask)).map(async (id) => (await view(id, ask)).object)),
  }),
  'get-public-key': getPublicKey,
  'export-key': exportKey,
  'update-object': updateObject,
  activate: onObject('Activate'),
  rotate: unsaid('rotation: Re-key makes another object'),
  're-key': reKey,
  revoke,
  archive,
  recover: onObject('Recover'),
  destroy,
  'cancel-destroy': unsaid('window in which a destroy can be cancelled'),
  encrypt,
  decrypt,
  're-encrypt': unsaid('re-encryption'),
  'generate-data-key': unsaid('data keys'),
  sign,
  verify,
  mac: async (request, ask) => {
    const { id, algorithm, payload } = await mac(request, ask);
    return { objectId: id, version: 1, algorithm, mac: bytes((await ask('MAC', payload))['MACData']) };
  },
  'mac-verify': async (request, ask) => {
    const { id, algorithm, payload } = await mac(request, ask);
    return { objectId: id, algorithm, ...valid(await ask('MACVerify', { ...payload, MACData: request.mac })) };
  },
  wrap,
  unwrap,
  derive,
  agree,
  random: async ({ length }, ask) => ({ bytes: bytes((await ask('RNGRetrieve', { DataLength: length }))['Data']) }),
  digest: async ({ hash, data }, ask) => ({
    digest: bytes((await ask('Hash', { CryptographicParameters: hashParameters(hash), Data: data }))['Data']),
  }),
  'begin-operation': begin,
  'update-operation': async (request, ask) => ({ output: bytes((await part(request, false, ask))['Data']) }),
  'finish-operation': finish,
  'cancel-operation': unsaid('way to drop a stream'),
  'create-csr': unsaid('certificate request made by a key'),
  'self-sign': unsaid('self-signed certificate made by a key'),
};

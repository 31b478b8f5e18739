import type { Algorithm, KeySpec } from '@aegis/rot-spi/vocabulary';
import { ALGORITHMS, HASH_BYTES, KEY_SPECS } from '@aegis/rot-spi/vocabulary';
import { derToP1363, p1363ToDer } from '../../rot-spi/src/software/ecdsa-encoding.js';
import type { GuardedService, OperationName, OperationRequest, OperationResponse } from '../../src/domain/index.js';
import { CKA, CKM, CKO, type CkmName } from '../../src/planes/pkcs11/wire/codes.js';
import { type BoundService, Refusal } from '../behaviour/cases/behaviour-case.js';
import { attribute, CkError, type Output, type ProtocolClient } from './protocol-client.js';

/**
 * The behaviour suite through this plane, as far as the wire can say it: signatures, MACs, digests, raw AES and random bytes
 * go over the socket; what PKCS#11 has no words for (names, tags, states, versions, envelopes …) goes to the service itself.
 * Where the wire refuses, the service must refuse the same request too, and its fault is what the case sees.
 */
interface Bridge {
  readonly service: GuardedService;
  readonly client: ProtocolClient;
  readonly session: number;
  readonly token: string;
  /** Operations that went over the wire. */
  readonly overWire: Map<OperationName, number>;
}

const HASHES: Partial<Record<string, number>> = {
  sha1: CKM.SHA_1,
  sha224: CKM.SHA224,
  sha256: CKM.SHA256,
  sha384: CKM.SHA384,
  sha512: CKM.SHA512,
};
const MGFS: Partial<Record<string, number>> = { sha1: 1, sha256: 2, sha384: 3, sha512: 4, sha224: 5 };
const ulongs = (...values: number[]) => Buffer.concat(values.map((value) => Buffer.from(value.toString(16).padStart(16, '0'), 'hex')));
const named = (prefix: string, hash: string, suffix: string): number | undefined =>
  (CKM as Readonly<Record<string, number>>)[`${prefix}${hash.toUpperCase()}${suffix}` as CkmName];

interface Signing {
  readonly type: number;
  readonly record?: Uint8Array;
}
const signingOf = (algorithm: Algorithm, saltLength: number | undefined): Signing | undefined => {
  const { hash } = ALGORITHMS[algorithm];
  if (hash === undefined) return undefined;
  if (algorithm.startsWith('ecdsa')) return { type: named('ECDSA_', hash, '') ?? -1 };
  const suffix = algorithm.startsWith('rsa-pss') ? '_RSA_PKCS_PSS' : '_RSA_PKCS';
  const type = named('', hash, suffix) ?? -1;
  const [digest, mgf] = [HASHES[hash], MGFS[hash]];
  if (!algorithm.startsWith('rsa-pss')) return { type };
  return digest === undefined || mgf === undefined ? undefined : { type, record: ulongs(digest, mgf, saltLength ?? HASH_BYTES[hash]) };
};

type Fields = Readonly<Record<string, unknown>>;
const plainKey = (request: Fields): boolean =>
  request['version'] === undefined && typeof request['key'] === 'string' && !/@\d+$/.test(request['key']);

export const bindBridge = ({ service, client, session, token, overWire }: Bridge): BoundService => {
  const direct = async <O extends OperationName>(operation: O, request: OperationRequest<O>): Promise<OperationResponse<O>> => {
    const done = await service(operation, request, {
      plane: 'rest',
      credential: { kind: 'bearer', token },
      requestId: 'bridge',
      source: 'local',
    });
    if (!done.ok) throw new Refusal(done.fault);
    return done.value;
  };
  const handle = async (id: string, cko?: number): Promise<number> => {
    const template = [attribute(CKA.UNIQUE_ID, Buffer.from(id)), ...(cko === undefined ? [] : [attribute(CKA.CLASS, cko)])];
    await client.call('C_FindObjectsInit', session, template);
    const [found] = await client.call<[{ values: number[] }]>('C_FindObjects', session, 2);
    await client.call('C_FindObjectsFinal', session);
    return found.values[0] ?? 0;
  };
  const output = async (...call: Parameters<ProtocolClient['output']>) => Uint8Array.from(await client.output(...call));

  const signature = async (operation: 'sign' | 'verify', request: Fields): Promise<unknown> => {
    const algorithm = request['algorithm'] as Algorithm | undefined;
    const mechanism = algorithm === undefined ? undefined : signingOf(algorithm, request['saltLength'] as number | undefined);
    if (mechanism === undefined || mechanism.type < 0 || request['prehashed'] === true || request['mgf1Hash'] !== undefined)
      return undefined;
    const { object, versions } = await direct('get-object', { key: request['key'] as string });
    if (versions.length !== 1 || algorithm === undefined) return undefined;
    const der = algorithm.startsWith('ecdsa') && request['encoding'] !== 'p1363';
    const width = Math.ceil(KEY_SPECS[object.spec as KeySpec].bits / 8);
    const answer = { objectId: object.id, version: object.currentVersion, algorithm };
    if (operation === 'sign') {
      await client.call('C_SignInit', session, mechanism, await handle(object.id));
      const made = await output('C_Sign', session, request['data']);
      return { ...answer, signature: der ? Uint8Array.from(p1363ToDer(Buffer.from(made))) : made };
    }
    const publicId = object.type === 'public-key' ? object.id : object.links.find((link) => link.type === 'public-key')?.target;
    const given = request['signature'] as Uint8Array;
    const raw = der ? derToP1363(given, width) : given;
    if (publicId === undefined || raw === undefined) return undefined;
    await client.call('C_VerifyInit', session, mechanism, await handle(publicId, CKO.PUBLIC_KEY));
    const rv = await client.rv('C_Verify', session, request['data'], raw);
    if (rv !== 0 && rv !== 0xc0 && rv !== 0xc1) throw new CkError('C_Verify', rv);
    const { version: _, ...rest } = answer;
    return rv === 0 ? { ...answer, valid: true } : { ...rest, valid: false };
  };

  const macs = async (operation: 'mac' | 'mac-verify', request: Fields): Promise<unknown> => {
    const { object, versions } = await direct('get-object', { key: request['key'] as string });
    const spec = object.spec === undefined ? undefined : KEY_SPECS[object.spec];
    const type =
      spec?.hash === undefined
        ? spec?.family === 'aes'
          ? CKM.AES_CMAC
          : undefined
        : named(spec.hash === 'sha1' ? 'SHA_1' : '', spec.hash === 'sha1' ? '' : spec.hash, '_HMAC');
    if (type === undefined || versions.length !== 1 || request['algorithm'] !== undefined) return undefined;
    const algorithm = (spec?.family === 'aes' ? 'aes-cmac' : `hmac-${spec?.hash}`) as Algorithm;
    const answer = { objectId: object.id, version: object.currentVersion, algorithm };
    const key = await handle(object.id);
    if (operation === 'mac') {
      await client.call('C_SignInit', session, { type }, key);
      return { ...answer, mac: await output('C_Sign', session, request['data']) };
    }
    const given = request['mac'] as Uint8Array;
    if (given.length !== (spec?.family === 'aes' ? 16 : HASH_BYTES[spec?.hash ?? 'sha256'])) return undefined;
    await client.call('C_VerifyInit', session, { type }, key);
    const rv = await client.rv('C_Verify', session, request['data'], given);
    return rv === 0 ? { ...answer, valid: true } : { objectId: object.id, algorithm, valid: false };
  };

  const wire = async (operation: OperationName, request: Fields): Promise<unknown> => {
    if ((operation === 'sign' || operation === 'verify') && plainKey(request)) return signature(operation, request);
    if ((operation === 'mac' || operation === 'mac-verify') && plainKey(request)) return macs(operation, request);
    if (
      operation === 'random' &&
      Number.isInteger(request['length']) &&
      Number(request['length']) > 0 &&
      Number(request['length']) < 65_536 &&
      request['root'] === undefined
    )
      return { bytes: (await client.call<[Output]>('C_GenerateRandom', session, request['length']))[0].bytes };
    const digest = operation === 'digest' ? HASHES[request['hash'] as string] : undefined;
    if (digest === undefined) return undefined;
    await client.call('C_DigestInit', session, { type: digest });
    return { digest: await output('C_Digest', session, request['data']) };
  };

  return async (operation, request) => {
    try {
      const answer = await wire(operation, request as Fields);
      if (answer === undefined) return direct(operation, request);
      overWire.set(operation, (overWire.get(operation) ?? 0) + 1);
      return answer as never;
    } catch (error) {
      if (!(error instanceof CkError)) throw error;
      overWire.set(operation, (overWire.get(operation) ?? 0) + 1);
      await client.call('C_SessionCancel', session, 0xffff_ffff).catch(() => undefined);
      await direct(operation, request);
      throw new Error(`the wire refused what the service does: ${operation}: ${error.message}`);
    }
  };
};

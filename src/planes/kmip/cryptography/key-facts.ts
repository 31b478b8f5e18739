import { KEY_SPECS, type KeyFamily, type KeySpec } from '@aegis/rot-spi/vocabulary';
import {
  FaultError,
  fail,
  type ManagedObject,
  type OperationName,
  type OperationRequest,
  type OperationResponse,
} from '../../../domain/index.js';
import { storedOne } from '../attributes/stored-values.js';
import { type KmipCall, KmipRefusal } from '../contract.js';
import { type CryptographicParameters, nameOf } from './payload-fields.js';

// What of a key decides how a request is carried out.

export interface KeyFacts {
  readonly spec: KeySpec;
  readonly family: KeyFamily;
  /** Cryptographic Algorithm as the key was registered with it, where that says more than the specification. */
  readonly named: string | undefined;
  /** From the request, else the key's attribute with the lowest index, else none. */
  readonly parameters: CryptographicParameters;
}

/** Facts of the key that a request means; nothing for objects without a key specification, which the key service refuses. */
const factsOf = (object: ManagedObject, given: CryptographicParameters | undefined): KeyFacts | undefined => {
  const { spec } = object;
  if (spec === undefined) return undefined;
  return {
    spec,
    family: KEY_SPECS[spec].family,
    named: nameOf(storedOne(object.attributes, 'CryptographicAlgorithm'), 'CryptographicAlgorithm'),
    parameters: given ?? (storedOne(object.attributes, 'CryptographicParameters') as CryptographicParameters | undefined) ?? {},
  };
};

/**
 * Calls the key service with a request that is completed from the key's own facts. A refusal of `complete` reaches the client with its
 * KMIP reason, but only after policy and the key's state have let the call pass (GuardedService `refine`).
 */
export const callWithKey = async <O extends OperationName>(
  call: KmipCall,
  operation: O,
  request: OperationRequest<O>,
  given: CryptographicParameters | undefined,
  complete: (facts: KeyFacts, object: ManagedObject) => Partial<OperationRequest<O>>,
): Promise<OperationResponse<O>> => {
  let refusal: KmipRefusal | undefined;
  let refused: FaultError | undefined;
  try {
    return await call.call(operation, request, (object) => {
      refusal = undefined;
      try {
        const facts = factsOf(object, given);
        return facts === undefined ? request : { ...request, ...complete(facts, object) };
      } catch (error) {
        if (!(error instanceof KmipRefusal)) throw error;
        refusal = error;
        refused = fail('invalid-field', error.message);
        throw refused;
      }
    });
  } catch (error) {
    if (refusal !== undefined && error instanceof FaultError && error.fault === refused?.fault) throw refusal;
    throw error;
  }
};

import type { RootCallName } from '@aegis/rot-spi';
import type { Algorithm, KeySpec } from '@aegis/rot-spi/vocabulary';
import type { Fault, OperationName, OperationRequest, OperationResponse } from '../../../src/domain/index.js';

/** One caller's view of the service, whichever wire carries it: throws a `Refusal` where the service refuses. */
export type BoundService = <O extends OperationName>(operation: O, request: OperationRequest<O>) => Promise<OperationResponse<O>>;

export class Refusal extends Error {
  readonly fault: Fault;
  constructor(fault: Fault) {
    // The field is for whoever asks for it: not every wire knows it.
    super(`${fault.code}: ${fault.message}`);
    this.name = 'Refusal';
    this.fault = fault;
  }
}

/** A wire's target throws it where a case asks for, or reads, what the wire has no words for. */
export class Inexpressible extends Error {
  constructor(what: string) {
    super(what);
    this.name = 'Inexpressible';
  }
}

/** The refusal of a call; throws when the call went through. */
export const refusalOf = async (work: Promise<unknown>): Promise<Fault> => {
  try {
    await work;
  } catch (error) {
    if (error instanceof Refusal) return error.fault;
    throw error;
  }
  throw new Error('the call was not refused');
};

/** What a case runs against: a wire and a root of trust behind it. */
export interface BehaviourTarget {
  readonly alice: BoundService;
  /** Another principal of the same tenant. */
  readonly bob: BoundService;
  /** A principal of another tenant, with every right in it. */
  readonly stranger: BoundService;
  /** A name nobody used before. */
  readonly name: (prefix: string) => string;
  readonly can: (needs: Needs) => boolean;
}

export interface Needs {
  readonly generate?: readonly KeySpec[];
  readonly import?: readonly KeySpec[];
  readonly algorithms?: readonly (readonly [Algorithm, KeySpec])[];
  readonly powers?: readonly RootCallName[];
  readonly multiPart?: readonly Algorithm[];
}

/** A behaviour every wire over every root must show, except where a target lists that its root lacks what is needed. */
export interface BehaviourCase {
  readonly name: string;
  readonly needs?: Needs;
  readonly run: (target: BehaviourTarget) => Promise<void>;
}

export const utf8 = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'utf8'));

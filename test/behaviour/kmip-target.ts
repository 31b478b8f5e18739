import { CodecError, type Fields } from '@aegis/kmip-ttlv';
import type { KmipClient } from '@aegis/kmip-ttlv/client';
import type { RootDescription } from '@aegis/rot-spi';
import type { Fault, FaultCode, GuardedService, OperationName, OperationRequest, OperationResponse } from '../../src/domain/index.js';
import { messageOf, reasonOf } from '../../src/planes/kmip/faults.js';
import { type KmipTargetOptions, startKmipTarget } from '../kmip/kmip-target.js';
import { type BehaviourTarget, type BoundService, Inexpressible, Refusal } from './cases/behaviour-case.js';
import type { Ask } from './kmip-asking.js';
import { KMIP_TRANSLATIONS } from './kmip-translations.js';
import { REASONS } from './kmip-words.js';
import { canDo } from './run-cases.js';

/** A fault that only the plane knows of: a Result Reason names no field. */
const planeFault = (code: FaultCode, message: string): Fault =>
  Object.defineProperty({ code, message }, 'field', {
    get: () => {
      throw new Inexpressible('field at fault where the plane itself refuses');
    },
  }) as Fault;

/** Result Messages are ASCII: what stands for other characters is left out of the comparison. */
const plain = (message: string): string => message.replaceAll(/[^ -~]|['"?.-]/gu, '');

/**
 * Several faults share a Result Reason, and none is told with its field. So the faults of the service behind the plane are listened to:
 * a refusal whose reason and message are exactly the projection of one stands for it. Any other was the plane's own.
 */
const toRefusal = (operation: string, reason: unknown, message: string, heard: readonly Fault[]): Refusal => {
  const says = (fault: Fault): boolean => reasonOf(fault.code, operation, '2.1') === reason && plain(messageOf(fault)) === plain(message);
  const meant = heard.findLast(says);
  if (meant !== undefined) return new Refusal(meant);
  const code = REASONS[String(reason)];
  if (code === undefined) throw new Error(`${operation}: ${String(reason)} (${message}) stands for no fault of the algebra`);
  return new Refusal(planeFault(code, message));
};

const askOver =
  (client: KmipClient, heard: Fault[]): Ask =>
  async (operation, payload) => {
    const from = heard.length;
    try {
      const [result] = await client.batch([{ operation, payload } as never]);
      if (result?.status === 'Success') return result.payload as Fields;
      throw toRefusal(operation, result?.reason, result?.message ?? '', heard.slice(from));
    } catch (error) {
      // What the wire's types cannot hold never leaves the client.
      if (error instanceof CodecError) throw new Refusal(planeFault('invalid-field', error.message));
      throw error;
    }
  };

const callerOver =
  (ask: Ask): BoundService =>
  <O extends OperationName>(operation: O, request: OperationRequest<O>): Promise<OperationResponse<O>> => {
    const translation = KMIP_TRANSLATIONS[operation] as
      | ((request: OperationRequest<O>, ask: Ask) => Promise<OperationResponse<O>>)
      | undefined;
    if (translation === undefined) throw new Error(`${operation} has no translation: add it to KMIP_TRANSLATIONS`);
    return translation(request, ask);
  };

interface KmipBehaviour {
  readonly target: BehaviourTarget;
  stop(): Promise<void>;
}

/** The behaviour suite's callers as KMIP 2.1 clients, each with its certificate, over the plane of a whole service. */
export const openKmipBehaviour = async (options: KmipTargetOptions = {}): Promise<KmipBehaviour> => {
  const running = await startKmipTarget(options);
  const heard: Fault[] = [];
  const service: GuardedService = async (operation, request, caller, refine) => {
    const result = await running.core.service(operation, request, caller, refine);
    if (!result.ok) heard.push(result.fault);
    return result;
  };
  const { port } = await running.serve({ service });
  const { roots } = await running.admin('list-roots', {});
  const report = roots.find(({ isDefault }) => isDefault)?.description as RootDescription;
  const caller = async (user: 'alice' | 'bob' | 'stranger') => callerOver(askOver(await running.connect(user, '2.1', { port }), heard));
  let n = 0;
  return {
    target: {
      alice: await caller('alice'),
      bob: await caller('bob'),
      stranger: await caller('stranger'),
      name: (prefix) => {
        n += 1;
        return `${prefix}-${n}`;
      },
      can: (needs) => canDo(report, needs),
    },
    stop: () => running.stop(),
  };
};

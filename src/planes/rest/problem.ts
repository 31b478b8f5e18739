import type { Fault, FaultCode } from '../../domain/index.js';
import { PROJECTIONS } from '../projections.js';

/** Refusals that exist only on this wire: they happen before there is an operation. */
export const WIRE_FAULTS = {
  'route-not-found': { http: 404, title: 'No such resource' },
  'method-not-allowed': { http: 405, title: 'Method not allowed' },
  'unsupported-media-type': { http: 415, title: 'Unsupported media type' },
  'misdirected-request': { http: 421, title: 'Misdirected request' },
  'headers-too-large': { http: 431, title: 'Request headers too large' },
  'request-timeout': { http: 408, title: 'Request took too long to arrive' },
} as const;
export type WireFaultCode = keyof typeof WIRE_FAULTS;

export type WireFault = Omit<Fault, 'code'> & { readonly code: FaultCode | WireFaultCode };

export interface Problem {
  /** `urn:aegis:problem:<code>`. */
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  /** The request id. */
  readonly instance: string;
  readonly code: string;
  readonly field?: string;
  readonly next?: string;
  readonly statement?: string;
  /** Seconds. */
  readonly retryAfter?: number;
}

export const PROBLEM_MEDIA = 'application/problem+json; charset=utf-8';

export const faultStatus = (code: WireFault['code']): { readonly http: number; readonly title: string } =>
  code in WIRE_FAULTS ? WIRE_FAULTS[code as WireFaultCode] : PROJECTIONS[code as FaultCode];

/** Thrown inside the plane for a refusal of its own. */
export class WireRefusal extends Error {
  readonly fault: WireFault;
  constructor(fault: WireFault) {
    super(fault.message);
    this.fault = fault;
  }
}

/** Whole seconds, at least one (RFC 9110 §10.2.3). */
const retryAfterSeconds = (retryAfterMs: number): number => Math.max(1, Math.ceil(retryAfterMs / 1_000));

/** RFC 9457 §3.1. */
export function toProblem(fault: WireFault, requestId: string): Problem {
  const { http, title } = faultStatus(fault.code);
  return {
    type: `urn:aegis:problem:${fault.code}`,
    title,
    status: http,
    detail: fault.message,
    instance: requestId,
    code: fault.code,
    ...(fault.field === undefined ? {} : { field: fault.field }),
    ...(fault.next === undefined ? {} : { next: fault.next }),
    ...(fault.statement === undefined ? {} : { statement: fault.statement }),
    ...(fault.retryAfterMs === undefined ? {} : { retryAfter: retryAfterSeconds(fault.retryAfterMs) }),
  };
}

export const INTERNAL: WireFault = {
  code: 'internal',
  message: 'The request failed inside the service.',
  next: 'Try again; if it stays, give the operator the request id in `instance`.',
};
export const NOTHING_HERE: WireFault = {
  code: 'route-not-found',
  message: 'There is nothing at this path',
  next: 'See GET /openapi.json or /docs for what there is.',
};

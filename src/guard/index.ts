/** The guard: the one way to the key service, whichever plane a call came from. */
export { makeGuard, STAGES } from './guard.js';
export type {
  AuditDraft,
  Detector,
  Finding,
  GuardParts,
  Identifier,
  Journal,
  ObjectLoader,
  PolicyEngine,
  PolicyQuestion,
  Responder,
  RiskAssessment,
  RiskEngine,
} from './ports.js';

import type { Session } from './session.js';
import type { ContractRunner } from './target.js';

export const defineRoundTrips = (_session: Session, _runner: ContractRunner): void => undefined;

import { refuse } from './contract.js';

// KMIP operations as actions of the guard, for tickets that are limited to some operations.

export interface OperationScope {
  readonly action: string;
  /** The action is asked about an object, so that it can be limited to some. */
  readonly onObject: boolean;
}

const on = (...actions: readonly string[]): readonly OperationScope[] => actions.map((action) => ({ action, onObject: true }));
const free = (...actions: readonly string[]): readonly OperationScope[] => actions.map((action) => ({ action, onObject: false }));
const READ = on('keys:read', 'keys:read-public');

/** What an operation asks the guard for; an operation that is not here cannot be granted by a ticket. */
const SCOPES: Readonly<Record<string, readonly OperationScope[]>> = {
  Create: free('keys:create'),
  CreateKeyPair: free('keys:create'),
  Register: [...free('keys:import'), ...on('keys:unwrap')],
  Import: [...free('keys:import'), ...on('keys:unwrap')],
  ReKey: on('keys:rotate', 'keys:read'),
  ReKeyKeyPair: on('keys:rotate', 'keys:read'),
  DeriveKey: [...on('keys:derive', 'keys:read'), ...free('keys:import')],
  Locate: free('keys:list'),
  Check: READ,
  Get: [...READ, ...on('keys:export', 'keys:wrap', 'keys:wrap-target')],
  Export: [...READ, ...on('keys:export', 'keys:wrap', 'keys:wrap-target')],
  GetAttributes: READ,
  GetAttributeList: READ,
  AddAttribute: [...READ, ...on('keys:update')],
  ModifyAttribute: [...READ, ...on('keys:update')],
  SetAttribute: [...READ, ...on('keys:update')],
  AdjustAttribute: [...READ, ...on('keys:update')],
  DeleteAttribute: [...READ, ...on('keys:update')],
  ObtainLease: [...READ, ...on('keys:update')],
  GetUsageAllocation: [...READ, ...on('keys:update')],
  Activate: on('keys:activate', 'keys:read'),
  Revoke: on('keys:revoke', 'keys:read'),
  Deactivate: on('keys:revoke', 'keys:read'),
  Destroy: on('keys:destroy', 'keys:read'),
  Archive: on('keys:archive', 'keys:read'),
  Recover: on('keys:archive', 'keys:read'),
  Encrypt: on('keys:encrypt', 'keys:read', 'keys:multi-part'),
  Decrypt: on('keys:decrypt', 'keys:read', 'keys:multi-part'),
  Sign: on('keys:sign', 'keys:read', 'keys:multi-part'),
  SignatureVerify: on('keys:verify', 'keys:read', 'keys:multi-part'),
  MAC: on('keys:mac', 'keys:read', 'keys:multi-part'),
  MACVerify: on('keys:mac-verify', 'keys:read', 'keys:multi-part'),
  Hash: free('service:digest', 'service:multi-part'),
  RNGRetrieve: free('service:random'),
  RNGSeed: free('service:seed-random'),
  Log: free('service:log'),
  Query: [],
  DiscoverVersions: [],
  Ping: [],
  Poll: [],
  Cancel: [],
  Process: [],
  QueryAsynchronousRequests: [],
};

/** The actions of an operation. @throws KmipRefusal for one that a ticket cannot grant */
export function scopeOf(operation: string | number): readonly OperationScope[] {
  const found = Object.hasOwn(SCOPES, operation) ? SCOPES[operation] : undefined;
  if (found === undefined) throw refuse('FeatureNotSupported', 'A right names an operation that tickets cannot grant.');
  return found;
}

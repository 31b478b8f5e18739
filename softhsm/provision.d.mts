export interface ProvisionOptions {
  readonly label?: string;
  readonly pinFile?: string;
  readonly storage?: 'token' | 'wrapped';
  readonly id?: string;
  readonly hosts?: number;
}
export interface SoftHsmRootConfig {
  readonly id: string;
  readonly kind: 'pkcs11';
  readonly module: string;
  readonly slot: { readonly label: string };
  readonly pin: { readonly file: string };
  readonly storage: 'token' | 'wrapped';
  readonly hosts?: number;
  readonly environment: { readonly SOFTHSM2_CONF: string };
}
export class ProvisionError extends Error {}
export function findSoftHsm(): string | undefined;
export function provisionSoftHsm(dir: string, options?: ProvisionOptions): SoftHsmRootConfig;

// Bit masks (KMIP 1.4 §9.1.3.3, 2.1 §12): Integers on the wire, names in the text forms.
import type { MaskRow } from './table-rows.js';

export const MASKS = [
  {
    name: 'CryptographicUsageMask',
    values: [
      { value: 0x1, name: 'Sign', text: 'Sign', since: '1.0' },
      { value: 0x2, name: 'Verify', text: 'Verify', since: '1.0' },
      { value: 0x4, name: 'Encrypt', text: 'Encrypt', since: '1.0' },
      { value: 0x8, name: 'Decrypt', text: 'Decrypt', since: '1.0' },
      { value: 0x10, name: 'WrapKey', text: 'Wrap Key', since: '1.0' },
      { value: 0x20, name: 'UnwrapKey', text: 'Unwrap Key', since: '1.0' },
      { value: 0x40, name: 'Export', text: 'Export', since: '1.0', until: '1.4' },
      { value: 0x80, name: 'MACGenerate', text: 'MAC Generate', since: '1.0' },
      { value: 0x100, name: 'MACVerify', text: 'MAC Verify', since: '1.0' },
      { value: 0x200, name: 'DeriveKey', text: 'Derive Key', since: '1.0' },
      { value: 0x400, name: 'ContentCommitment', text: 'Content Commitment', since: '1.0', until: '1.4' },
      { value: 0x800, name: 'KeyAgreement', text: 'Key Agreement', since: '1.0' },
      { value: 0x1000, name: 'CertificateSign', text: 'Certificate Sign', since: '1.0' },
      { value: 0x2000, name: 'CRLSign', text: 'CRL Sign', since: '1.0' },
      { value: 0x4000, name: 'GenerateCryptogram', text: 'Generate Cryptogram', since: '1.0', until: '1.4' },
      { value: 0x8000, name: 'ValidateCryptogram', text: 'Validate Cryptogram', since: '1.0', until: '1.4' },
      { value: 0x10000, name: 'TranslateEncrypt', text: 'Translate Encrypt', since: '1.0', until: '1.4' },
      { value: 0x20000, name: 'TranslateDecrypt', text: 'Translate Decrypt', since: '1.0', until: '1.4' },
      { value: 0x40000, name: 'TranslateWrap', text: 'Translate Wrap', since: '1.0', until: '1.4' },
      { value: 0x80000, name: 'TranslateUnwrap', text: 'Translate Unwrap', since: '1.0', until: '1.4' },
      { value: 0x100000, name: 'Authenticate', text: 'Authenticate', since: '2.0' },
      { value: 0x200000, name: 'Unrestricted', text: 'Unrestricted', since: '2.0' },
      { value: 0x400000, name: 'FPEEncrypt', text: 'FPE Encrypt', since: '2.0' },
      { value: 0x800000, name: 'FPEDecrypt', text: 'FPE Decrypt', since: '2.0' },
    ],
  },
  {
    name: 'StorageStatusMask',
    values: [
      { value: 0x1, name: 'OnLineStorage', text: 'On-line storage', since: '1.0' },
      { value: 0x2, name: 'ArchivalStorage', text: 'Archival storage', since: '1.0' },
      { value: 0x4, name: 'DestroyedStorage', text: 'Destroyed storage', since: '2.0' },
    ],
  },
  {
    name: 'ProtectionStorageMask',
    values: [
      { value: 0x1, name: 'Software', text: 'Software', since: '2.0' },
      { value: 0x2, name: 'Hardware', text: 'Hardware', since: '2.0' },
      { value: 0x4, name: 'OnProcessor', text: 'On Processor', since: '2.0' },
      { value: 0x8, name: 'OnSystem', text: 'On System', since: '2.0' },
      { value: 0x10, name: 'OffSystem', text: 'Off System', since: '2.0' },
      { value: 0x20, name: 'Hypervisor', text: 'Hypervisor', since: '2.0' },
      { value: 0x40, name: 'OperatingSystem', text: 'Operating System', since: '2.0' },
      { value: 0x80, name: 'Container', text: 'Container', since: '2.0' },
      { value: 0x100, name: 'OnPremises', text: 'On Premises', since: '2.0' },
      { value: 0x200, name: 'OffPremises', text: 'Off Premises', since: '2.0' },
      { value: 0x400, name: 'SelfManaged', text: 'Self Managed', since: '2.0' },
      { value: 0x800, name: 'Outsourced', text: 'Outsourced', since: '2.0' },
      { value: 0x1000, name: 'Validated', text: 'Validated', since: '2.0' },
      { value: 0x2000, name: 'SameJurisdiction', text: 'Same Jurisdiction', since: '2.0' },
    ],
  },
  {
    name: 'ObjectClassMask',
    values: [
      { value: 0x1, name: 'User', text: 'User', since: '3.0' },
      { value: 0x2, name: 'System', text: 'System', since: '3.0' },
    ],
  },
] as const satisfies readonly MaskRow[];

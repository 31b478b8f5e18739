// Structures and their fields in the order of the standard (KMIP 1.4 §2, §3, §6 and §7; 2.1 §2 to §5 and §7 to §9). A field without `since` is as old as its
// structure. Structures that vary with a sibling (Key Material, Credential Value) list the fields of all variants in an order that suits each.
import type { StructureRow } from './table-rows.js';

export const STRUCTURES = [
  {
    name: 'RequestMessage',
    fields: [
      { name: 'RequestHeader', required: true },
      { name: 'BatchItem', required: true, repeated: true },
    ],
  },
  {
    name: 'ResponseMessage',
    fields: [
      { name: 'ResponseHeader', required: true },
      { name: 'BatchItem', required: true, repeated: true },
    ],
  },
  {
    name: 'RequestHeader',
    fields: [
      { name: 'ProtocolVersion', required: true },
      { name: 'MaximumResponseSize' },
      { name: 'ClientCorrelationValue', since: '1.4' },
      { name: 'ServerCorrelationValue', since: '1.4' },
      { name: 'AsynchronousIndicator' },
      { name: 'AttestationCapableIndicator', since: '1.2' },
      { name: 'AttestationType', repeated: true, since: '1.2' },
      { name: 'Authentication' },
      { name: 'BatchErrorContinuationOption' },
      { name: 'BatchOrderOption', until: '2.1' },
      { name: 'TimeStamp' },
      { name: 'BatchCount', required: true, until: '2.1' },
    ],
  },
  {
    name: 'ResponseHeader',
    fields: [
      { name: 'ProtocolVersion', required: true },
      { name: 'TimeStamp', required: true },
      { name: 'Nonce', since: '1.2' },
      { name: 'ServerHashedPassword', since: '2.0' },
      { name: 'AttestationType', repeated: true, since: '1.2' },
      { name: 'ClientCorrelationValue', since: '1.4' },
      { name: 'ServerCorrelationValue', since: '1.4' },
      { name: 'BatchCount', required: true, until: '2.1' },
    ],
  },
  {
    name: 'ProtocolVersion',
    fields: [
      { name: 'ProtocolVersionMajor', required: true },
      { name: 'ProtocolVersionMinor', required: true },
    ],
  },
  {
    name: 'Authentication',
    fields: [{ name: 'Credential', required: true, repeated: true }],
  },
  {
    name: 'Credential',
    fields: [
      { name: 'CredentialType', required: true },
      { name: 'CredentialValue', required: true },
    ],
  },
  {
    name: 'CredentialValue',
    fields: [
      { name: 'Username' },
      { name: 'DeviceSerialNumber', since: '1.1' },
      { name: 'Password' },
      { name: 'OneTimePassword', since: '2.0' },
      { name: 'DeviceIdentifier', since: '1.1' },
      { name: 'NetworkIdentifier', since: '1.1' },
      { name: 'MachineIdentifier', since: '1.1' },
      { name: 'MediaIdentifier', since: '1.1' },
      { name: 'TimeStamp', since: '2.0' },
      { name: 'HashingAlgorithm', since: '2.0' },
      { name: 'HashedPassword', since: '2.0' },
      { name: 'Nonce', since: '1.2' },
      { name: 'AttestationType', since: '1.2' },
      { name: 'AttestationMeasurement', since: '1.2' },
      { name: 'AttestationAssertion', since: '1.2' },
      { name: 'Ticket', since: '2.0' },
    ],
  },
  {
    name: 'MessageExtension',
    fields: [
      { name: 'VendorIdentification', required: true },
      { name: 'CriticalityIndicator', required: true },
      { name: 'VendorExtension', required: true },
    ],
  },
  {
    name: 'VendorExtension',
    fields: [],
  },
  {
    name: 'Nonce',
    fields: [
      { name: 'NonceID', required: true },
      { name: 'NonceValue', required: true },
    ],
  },
  {
    name: 'Ticket',
    fields: [
      { name: 'TicketType', required: true },
      { name: 'TicketValue', required: true },
    ],
  },
  {
    name: 'Certificate',
    fields: [
      { name: 'CertificateType', required: true },
      { name: 'CertificateValue', required: true },
    ],
  },
  {
    name: 'CertificateRequest',
    fields: [
      { name: 'CertificateRequestType', required: true },
      { name: 'CertificateRequestValue', required: true },
    ],
  },
  {
    name: 'SymmetricKey',
    fields: [{ name: 'KeyBlock', required: true }],
  },
  {
    name: 'PublicKey',
    fields: [{ name: 'KeyBlock', required: true }],
  },
  {
    name: 'PrivateKey',
    fields: [{ name: 'KeyBlock', required: true }],
  },
  {
    name: 'SplitKey',
    fields: [
      { name: 'SplitKeyParts', required: true },
      { name: 'KeyPartIdentifier', required: true },
      { name: 'SplitKeyThreshold', required: true },
      { name: 'SplitKeyMethod', required: true },
      { name: 'SplitKeyPolynomial', since: '3.0' },
      { name: 'PrimeFieldSize' },
      { name: 'KeyBlock', required: true },
    ],
  },
  {
    name: 'Template',
    fields: [{ name: 'Attribute', required: true, repeated: true }],
  },
  {
    name: 'SecretData',
    fields: [
      { name: 'SecretDataType', required: true },
      { name: 'KeyBlock', required: true },
    ],
  },
  {
    name: 'OpaqueObject',
    fields: [
      { name: 'OpaqueDataType', required: true },
      { name: 'OpaqueDataValue', required: true },
    ],
  },
  {
    name: 'PGPKey',
    fields: [
      { name: 'PGPKeyVersion', required: true },
      { name: 'KeyBlock', required: true },
    ],
  },
  {
    name: 'PasswordCredential',
    fields: [
      { name: 'Username' },
      { name: 'Password' },
      { name: 'PasswordSalt' },
      { name: 'PasswordSaltAlgorithm' },
      { name: 'SaltedPassword' },
    ],
  },
  {
    name: 'DeviceCredential',
    fields: [
      { name: 'DeviceSerialNumber' },
      { name: 'Password' },
      { name: 'DeviceIdentifier' },
      { name: 'NetworkIdentifier' },
      { name: 'MachineIdentifier' },
      { name: 'MediaIdentifier' },
    ],
  },
  {
    name: 'OTPCredential',
    fields: [
      { name: 'OTPAlgorithm' },
      { name: 'OTPDigest' },
      { name: 'OTPSerial' },
      { name: 'OTPSeed' },
      { name: 'OTPInterval' },
      { name: 'OTPDigits' },
      { name: 'OTPCounter' },
    ],
  },
  {
    name: 'HashedPasswordCredential',
    fields: [{ name: 'HashingAlgorithm' }, { name: 'HashedUsernamePassword' }, { name: 'HashedPasswordUsername' }],
  },
  {
    name: 'KeyBlock',
    fields: [
      { name: 'KeyFormatType', required: true },
      { name: 'KeyCompressionType' },
      { name: 'KeyValue' },
      { name: 'CryptographicAlgorithm' },
      { name: 'CryptographicLength' },
      { name: 'KeyWrappingData' },
    ],
  },
  {
    name: 'KeyValue',
    fields: [
      { name: 'KeyMaterial', required: true },
      { name: 'Attribute', repeated: true, until: '1.4' },
      { name: 'Attributes', since: '2.0' },
    ],
  },
  {
    name: 'KeyMaterial',
    fields: [
      { name: 'Key' },
      { name: 'Modulus' },
      { name: 'PrivateExponent' },
      { name: 'PublicExponent' },
      { name: 'RecommendedCurve' },
      { name: 'D' },
      { name: 'QString' },
      { name: 'P' },
      { name: 'Q' },
      { name: 'G' },
      { name: 'J' },
      { name: 'X' },
      { name: 'Y' },
      { name: 'PrimeExponentP' },
      { name: 'PrimeExponentQ' },
      { name: 'CRTCoefficient' },
    ],
  },
  {
    name: 'KeyWrappingData',
    fields: [
      { name: 'WrappingMethod', required: true },
      { name: 'EncryptionKeyInformation' },
      { name: 'MACSignatureKeyInformation' },
      { name: 'MACSignature' },
      { name: 'IVCounterNonce' },
      { name: 'EncodingOption', since: '1.1' },
    ],
  },
  {
    name: 'EncryptionKeyInformation',
    fields: [{ name: 'UniqueIdentifier', required: true }, { name: 'CryptographicParameters' }],
  },
  {
    name: 'MACSignatureKeyInformation',
    fields: [{ name: 'UniqueIdentifier', required: true }, { name: 'CryptographicParameters' }],
  },
  {
    name: 'KeyWrappingSpecification',
    fields: [
      { name: 'WrappingMethod', required: true },
      { name: 'EncryptionKeyInformation' },
      { name: 'MACSignatureKeyInformation' },
      { name: 'AttributeName', repeated: true },
      { name: 'EncodingOption', since: '1.1' },
    ],
  },
  {
    name: 'CryptographicParameters',
    fields: [
      { name: 'BlockCipherMode' },
      { name: 'PaddingMethod' },
      { name: 'HashingAlgorithm' },
      { name: 'KeyRoleType' },
      { name: 'DigitalSignatureAlgorithm', since: '1.2' },
      { name: 'CryptographicAlgorithm', since: '1.2' },
      { name: 'RandomIV', since: '1.2' },
      { name: 'IVLength', since: '1.2' },
      { name: 'TagLength', since: '1.2' },
      { name: 'FixedFieldLength', since: '1.2' },
      { name: 'InvocationFieldLength', since: '1.2' },
      { name: 'CounterLength', since: '1.2' },
      { name: 'InitialCounterValue', since: '1.2' },
      { name: 'SaltLength', since: '1.4' },
      { name: 'MaskGenerator', since: '1.4' },
      { name: 'MaskGeneratorHashingAlgorithm', since: '1.4' },
      { name: 'PSource', since: '1.4' },
      { name: 'TrailerField', since: '1.4' },
    ],
  },
  {
    name: 'CryptographicDomainParameters',
    fields: [{ name: 'Qlength' }, { name: 'RecommendedCurve' }],
  },
  {
    name: 'TemplateAttribute',
    fields: [
      { name: 'Name', repeated: true },
      { name: 'Attribute', repeated: true },
    ],
  },
  {
    name: 'CommonTemplateAttribute',
    fields: [
      { name: 'Name', repeated: true },
      { name: 'Attribute', repeated: true },
    ],
  },
  {
    name: 'PrivateKeyTemplateAttribute',
    fields: [
      { name: 'Name', repeated: true },
      { name: 'Attribute', repeated: true },
    ],
  },
  {
    name: 'PublicKeyTemplateAttribute',
    fields: [
      { name: 'Name', repeated: true },
      { name: 'Attribute', repeated: true },
    ],
  },
  {
    name: 'ExtensionInformation',
    fields: [
      { name: 'ExtensionName', required: true },
      { name: 'ExtensionTag', since: '1.1' },
      { name: 'ExtensionType', since: '1.1' },
      { name: 'ExtensionEnumeration', since: '2.0' },
      { name: 'ExtensionAttribute', since: '2.0' },
      { name: 'ExtensionParentStructureTag', since: '2.0' },
      { name: 'ExtensionDescription', since: '2.0' },
    ],
  },
  {
    name: 'RNGParameters',
    fields: [
      { name: 'RNGAlgorithm', required: true },
      { name: 'CryptographicAlgorithm' },
      { name: 'CryptographicLength' },
      { name: 'HashingAlgorithm' },
      { name: 'DRBGAlgorithm' },
      { name: 'RecommendedCurve' },
      { name: 'FIPS186Variation' },
      { name: 'PredictionResistance' },
    ],
  },
  {
    name: 'RandomNumberGenerator',
    fields: [
      { name: 'RNGAlgorithm', required: true },
      { name: 'CryptographicAlgorithm' },
      { name: 'CryptographicLength' },
      { name: 'HashingAlgorithm' },
      { name: 'DRBGAlgorithm' },
      { name: 'RecommendedCurve' },
      { name: 'FIPS186Variation' },
      { name: 'PredictionResistance' },
    ],
  },
  {
    name: 'ProfileInformation',
    fields: [
      { name: 'ProfileName', required: true },
      { name: 'ProfileVersion', since: '2.0' },
      { name: 'ServerURI' },
      { name: 'ServerPort' },
    ],
  },
  {
    name: 'ProfileVersion',
    fields: [
      { name: 'ProfileVersionMajor', required: true },
      { name: 'ProfileVersionMinor', required: true },
    ],
  },
  {
    name: 'ValidationInformation',
    fields: [
      { name: 'ValidationAuthorityType', required: true },
      { name: 'ValidationAuthorityCountry' },
      { name: 'ValidationAuthorityURI' },
      { name: 'ValidationVersionMajor', required: true },
      { name: 'ValidationVersionMinor' },
      { name: 'ValidationType', required: true },
      { name: 'ValidationLevel', required: true },
      { name: 'ValidationCertificateIdentifier' },
      { name: 'ValidationCertificateURI' },
      { name: 'ValidationVendorURI' },
      { name: 'ValidationProfile', repeated: true },
    ],
  },
  {
    name: 'CapabilityInformation',
    fields: [
      { name: 'StreamingCapability' },
      { name: 'AsynchronousCapability' },
      { name: 'AttestationCapability' },
      { name: 'BatchUndoCapability', since: '1.4' },
      { name: 'BatchContinueCapability', since: '1.4' },
      { name: 'UnwrapMode' },
      { name: 'DestroyAction' },
      { name: 'ShreddingAlgorithm' },
      { name: 'RNGMode' },
      { name: 'QuantumSafeCapability', since: '2.0' },
    ],
  },
  {
    name: 'ServerInformation',
    fields: [
      { name: 'ServerName', since: '2.0' },
      { name: 'ServerSerialNumber', since: '2.0' },
      { name: 'ServerVersion', since: '2.0' },
      { name: 'ServerLoad', since: '2.0' },
      { name: 'ProductName', since: '2.0' },
      { name: 'BuildLevel', since: '2.0' },
      { name: 'BuildDate', since: '2.0' },
      { name: 'ClusterInfo', since: '2.0' },
      { name: 'AlternateFailoverEndpoints', repeated: true, since: '2.0' },
    ],
  },
  {
    name: 'DerivationParameters',
    fields: [
      { name: 'CryptographicParameters' },
      { name: 'InitializationVector' },
      { name: 'DerivationData' },
      { name: 'Salt' },
      { name: 'IterationCount' },
    ],
  },
  {
    name: 'AsynchronousCorrelationValues',
    fields: [{ name: 'AsynchronousCorrelationValue', repeated: true }],
  },
  {
    name: 'AsynchronousRequest',
    fields: [
      { name: 'AsynchronousCorrelationValue', required: true },
      { name: 'Operation', required: true },
      { name: 'SubmissionDate', required: true },
      { name: 'ProcessingStage', required: true },
    ],
  },
  {
    name: 'Constraints',
    fields: [{ name: 'Constraint', repeated: true }],
  },
  {
    name: 'Constraint',
    fields: [{ name: 'ObjectTypes' }, { name: 'ObjectGroups' }, { name: 'Attributes' }],
  },
  {
    name: 'DefaultsInformation',
    fields: [{ name: 'ObjectDefaults', repeated: true }],
  },
  {
    name: 'ObjectDefaults',
    fields: [
      { name: 'ObjectType', until: '2.0' },
      { name: 'ObjectTypes', since: '2.1' },
      { name: 'Attributes', required: true },
      { name: 'ObjectGroups', since: '2.1' },
    ],
  },
  {
    name: 'ObjectGroups',
    fields: [{ name: 'ObjectGroup', repeated: true }],
  },
  {
    name: 'ObjectTypes',
    fields: [{ name: 'ObjectType', repeated: true }],
  },
  {
    name: 'Objects',
    fields: [{ name: 'UniqueIdentifier', repeated: true }],
  },
  {
    name: 'Operations',
    fields: [{ name: 'Operation', repeated: true }],
  },
  {
    name: 'Right',
    fields: [{ name: 'UsageLimits' }, { name: 'Operations' }, { name: 'Objects' }, { name: 'ObjectGroups', since: '2.1' }],
  },
  {
    name: 'Rights',
    fields: [{ name: 'Right', repeated: true }],
  },
  {
    name: 'ProtectionStorageMasks',
    fields: [{ name: 'ProtectionStorageMask', repeated: true }],
  },
  {
    name: 'CommonProtectionStorageMasks',
    fields: [{ name: 'ProtectionStorageMask', repeated: true }],
  },
  {
    name: 'PrivateProtectionStorageMasks',
    fields: [{ name: 'ProtectionStorageMask', repeated: true }],
  },
  {
    name: 'PublicProtectionStorageMasks',
    fields: [{ name: 'ProtectionStorageMask', repeated: true }],
  },
  {
    name: 'AttributeReference',
    fields: [
      { name: 'VendorIdentification', required: true },
      { name: 'AttributeName', required: true },
    ],
  },
  {
    name: 'CredentialInformation',
    fields: [],
  },
  {
    name: 'Name',
    fields: [
      { name: 'NameValue', required: true },
      { name: 'NameType', required: true },
    ],
  },
  {
    name: 'RotateName',
    fields: [
      { name: 'RotateNameValue', required: true },
      { name: 'RotateNameType', required: true },
    ],
  },
  {
    name: 'AlternativeName',
    fields: [
      { name: 'AlternativeNameValue', required: true },
      { name: 'AlternativeNameType', required: true },
    ],
  },
  {
    name: 'ApplicationSpecificInformation',
    fields: [{ name: 'ApplicationNamespace', required: true }, { name: 'ApplicationData' }],
  },
  {
    name: 'Link',
    fields: [
      { name: 'LinkType', required: true },
      { name: 'LinkedObjectIdentifier', required: true },
    ],
  },
  {
    name: 'Digest',
    fields: [{ name: 'HashingAlgorithm', required: true }, { name: 'DigestValue' }, { name: 'KeyFormatType', since: '1.1' }],
  },
  {
    name: 'RevocationReason',
    fields: [{ name: 'RevocationReasonCode', required: true }, { name: 'RevocationMessage' }],
  },
  {
    name: 'DeactivationReason',
    fields: [{ name: 'DeactivationReasonCode', required: true }, { name: 'DeactivationMessage' }],
  },
  {
    name: 'UsageLimits',
    fields: [{ name: 'UsageLimitsTotal' }, { name: 'UsageLimitsCount' }, { name: 'UsageLimitsUnit' }],
  },
  {
    name: 'KeyValueLocation',
    fields: [
      { name: 'KeyValueLocationValue', required: true },
      { name: 'KeyValueLocationType', required: true },
    ],
  },
  {
    name: 'X_509CertificateIdentifier',
    fields: [
      { name: 'IssuerDistinguishedName', required: true },
      { name: 'CertificateSerialNumber', required: true },
    ],
  },
  {
    name: 'X_509CertificateSubject',
    fields: [
      { name: 'SubjectDistinguishedName', required: true },
      { name: 'SubjectAlternativeName', repeated: true },
    ],
  },
  {
    name: 'X_509CertificateIssuer',
    fields: [
      { name: 'IssuerDistinguishedName', required: true },
      { name: 'IssuerAlternativeName', repeated: true },
    ],
  },
  {
    name: 'CertificateIdentifier',
    fields: [{ name: 'Issuer', required: true }, { name: 'SerialNumber' }],
  },
  {
    name: 'CertificateSubject',
    fields: [
      { name: 'CertificateSubjectDistinguishedName', required: true },
      { name: 'CertificateSubjectAlternativeName', repeated: true },
    ],
  },
  {
    name: 'CertificateIssuer',
    fields: [
      { name: 'CertificateIssuerDistinguishedName', required: true },
      { name: 'CertificateIssuerAlternativeName', repeated: true },
    ],
  },
  {
    name: 'RequestBatchItem',
    fields: [
      { name: 'Operation', required: true },
      { name: 'Ephemeral', since: '2.0' },
      { name: 'UniqueBatchItemID', until: '2.1' },
      { name: 'RequestPayload', required: true },
      { name: 'MessageExtension', repeated: true },
    ],
  },
  {
    name: 'ResponseBatchItem',
    fields: [
      { name: 'Operation' },
      { name: 'UniqueBatchItemID', until: '2.1' },
      { name: 'ResultStatus', required: true },
      { name: 'ResultReason' },
      { name: 'ResultMessage' },
      { name: 'AsynchronousCorrelationValue' },
      { name: 'ResponsePayload' },
      { name: 'MessageExtension', repeated: true },
    ],
  },
] as const satisfies readonly StructureRow[];

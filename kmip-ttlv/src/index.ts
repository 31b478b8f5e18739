export { isFirstEra, isThirdEra, liftMessage, liftPayload, type RequestOptions, requestOptions } from './era/lift.js';
export { lowerMessage, lowerPayload, reasonIn } from './era/lower.js';
export { attributeNamed, protocolVersionOf, type ReadOptions, readMessage } from './message/read-message.js';
export {
  attributeRow,
  attributesOf,
  type Direction,
  operationRow,
  payloadSchema,
  type Schema,
  structureSchema,
  typesOf,
} from './message/schema.js';
export type {
  AttributeName,
  AttributeReference,
  BatchItem,
  Fields,
  KmipAttribute,
  Message,
  OperationName,
  RequestPayload,
  ResponsePayload,
  StandardAttribute,
  StructureFields,
  Value,
  Variant,
  VendorAttribute,
} from './message/value.js';
export { attributeLivesIn, attributeText, writeMessage } from './message/write-message.js';
export { ATTRIBUTES } from './spec/attributes.js';
export { ENUMERATIONS } from './spec/enumerations.js';
export { ITEM_TYPES, ItemType, type ItemTypeName, itemTypeCode, itemTypeName } from './spec/item-types.js';
export {
  type EnumerationName,
  enumerationName,
  enumerationOfTag,
  enumerationValue,
  knownTag,
  maskOfTag,
  showTag,
  type TagName,
  tagByText,
  tagCode,
  tagLivesIn,
  tagRow,
  type ValueName,
  valueLivesIn,
} from './spec/lookup.js';
export { MASKS } from './spec/masks.js';
export { OPERATIONS } from './spec/operations.js';
export { STRUCTURES } from './spec/structures.js';
export type {
  AttributeRow,
  ChangeRule,
  EnumerationRow,
  FieldRow,
  MaskRow,
  OperationRow,
  StructureRow,
  TagRow,
  TypeChangeRow,
  ValueRow,
} from './spec/table-rows.js';
export { TAGS, TYPE_CHANGES } from './spec/tags.js';
export { compareVersions, KMIP_VERSIONS, type KmipVersion, type Lifetime, livesIn, versionNumbers, versionOf } from './spec/versions.js';
export { fromJsonItem, readJson, toJsonItem, writeJson } from './text/json.js';
export { readXml, writeXml } from './text/xml.js';
export { CodecError, type CodecErrorCode } from './tree/codec-error.js';
export { type FrameReader, makeFrameReader } from './tree/frame-reader.js';
export {
  childOf,
  childrenOf,
  DEFAULT_LIMITS,
  fromBigInt,
  type Item,
  type ItemValue,
  type Limits,
  structure,
  toBigInt,
} from './tree/item.js';
export { messageLength, readTtlv } from './tree/read-ttlv.js';
export { writeTtlv } from './tree/write-ttlv.js';

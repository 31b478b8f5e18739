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
export type { EnumerationRow, MaskRow, TagRow, ValueRow } from './spec/table-rows.js';
export { TAGS } from './spec/tags.js';
export { compareVersions, KMIP_VERSIONS, type KmipVersion, type Lifetime, livesIn, versionNumbers, versionOf } from './spec/versions.js';
export { fromJsonItem, readJson, toJsonItem, writeJson } from './text/json.js';
export { readXml, writeXml } from './text/xml.js';
export { CodecError, type CodecErrorCode } from './tree/codec-error.js';
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

import { ItemType } from '../spec/item-types.js';
import { knownTag, tagByText } from '../spec/lookup.js';
import type { Item } from '../tree/item.js';

const ATTRIBUTE = knownTag('Attribute');
const ATTRIBUTE_NAME = knownTag('AttributeName');
const ATTRIBUTE_VALUE = knownTag('AttributeValue');
const VENDOR_IDENTIFICATION = knownTag('VendorIdentification');

/**
 * The tag whose enumeration or mask names the item's value. It is the item's own tag, but for an Attribute Value, whose meaning is that of the
 * attribute named beside it (KMIP 1.4 §2.1.1).
 * @param before the siblings that precede the item
 */
export function meaningTag(tag: number, parent: number, before: readonly Item[]): number {
  if (tag !== ATTRIBUTE_VALUE || parent !== ATTRIBUTE) return tag;
  if (before.some((sibling) => sibling.tag === VENDOR_IDENTIFICATION)) return tag;
  const name = before.find((sibling) => sibling.tag === ATTRIBUTE_NAME && sibling.type === ItemType.TextString);
  return name === undefined ? tag : (tagByText(name.value as string)?.code ?? tag);
}

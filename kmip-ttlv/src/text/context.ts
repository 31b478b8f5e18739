import { ItemType } from '../spec/item-types.js';
import { knownTag, tagByText } from '../spec/lookup.js';
import type { Item } from '../tree/item.js';

const ATTRIBUTE = knownTag('Attribute');
const ATTRIBUTE_NAME = knownTag('AttributeName');
const ATTRIBUTE_VALUE = knownTag('AttributeValue');
const VENDOR_IDENTIFICATION = knownTag('VendorIdentification');

/** Name and vendor come first in an Attribute; looking no further keeps a hostile one with thousands of children cheap. */
const MEANING_SIBLINGS = 4;

/**
 * The tag whose enumeration or mask names the item's value. It is the item's own tag, but for an Attribute Value, whose meaning is that of the
 * attribute named beside it (KMIP 1.4 §2.1.1).
 * @param siblings the children of the parent, from the first on
 */
export function meaningTag(tag: number, parent: number, siblings: readonly Item[]): number {
  if (tag !== ATTRIBUTE_VALUE || parent !== ATTRIBUTE) return tag;
  const first = siblings.slice(0, MEANING_SIBLINGS);
  if (first.some((sibling) => sibling.tag === VENDOR_IDENTIFICATION)) return tag;
  const name = first.find((sibling) => sibling.tag === ATTRIBUTE_NAME && sibling.type === ItemType.TextString);
  return name === undefined ? tag : (tagByText(name.value as string)?.code ?? tag);
}

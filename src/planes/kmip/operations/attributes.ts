import type { KmipHandler } from '../contract.js';
import { addAttribute, adjustAttribute, deleteAttribute, modifyAttribute, setAttribute } from './attribute-change.js';
import { getAttributeList, getAttributes } from './attribute-read.js';

/** Get Attributes, Get Attribute List, Add, Modify, Set, Adjust and Delete Attribute. */
export const ATTRIBUTE_HANDLERS: Readonly<Record<string, KmipHandler>> = {
  GetAttributes: getAttributes,
  GetAttributeList: getAttributeList,
  AddAttribute: addAttribute,
  ModifyAttribute: modifyAttribute,
  SetAttribute: setAttribute,
  AdjustAttribute: adjustAttribute,
  DeleteAttribute: deleteAttribute,
};

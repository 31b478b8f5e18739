/** What was wrong with the input; a server maps each to its Result Reason. */
export type CodecErrorCode =
  /** The bytes end before the item does. */
  | 'Truncated'
  /** Bytes are left over after the message. */
  | 'TrailingBytes'
  /** A length that the item type does not allow, or a child longer than its parent. */
  | 'BadLength'
  | 'BadType'
  | 'BadTag'
  /** A value its type does not allow: a Boolean of 2, text that is not UTF-8, padding that is not zero. */
  | 'BadValue'
  /** The XML or JSON is not well formed. */
  | 'BadSyntax'
  | 'TooLarge'
  | 'TooDeep'
  | 'TooManyItems'
  /** The message is well formed, but not what the schema says. */
  | 'BadMessage'
  /** A tag, value or field that the protocol version does not have. */
  | 'NotInVersion'
  /** A required field is absent. */
  | 'MissingField';

/**
 * The one error that every decoder and encoder of this package throws.
 * `path` names the item, such as `RequestMessage/BatchItem[0]/RequestPayload`; `offset` is the byte or character where it was seen, -1 when none.
 * The message never contains a value of the input.
 */
export class CodecError extends Error {
  override readonly name = 'CodecError';
  readonly code: CodecErrorCode;
  readonly path: string;
  readonly offset: number;
  readonly reason: string;
  constructor(code: CodecErrorCode, reason: string, path = '', offset = -1) {
    super(`${path === '' ? 'message' : path}: ${reason}${offset < 0 ? '' : ` (at ${offset})`}`);
    this.code = code;
    this.reason = reason;
    this.path = path;
    this.offset = offset;
  }
}

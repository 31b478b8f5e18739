/** ECDSA-Sig-Value (RFC 3279 §2.2.3) to and from r‖s of fixed length (IEEE P1363). Strict DER: one encoding per value. */
const derInteger = (value: Uint8Array): Buffer => {
  let start = 0;
  while (start < value.length - 1 && value[start] === 0) start += 1;
  const digits = value.subarray(start);
  const padded = (digits[0] ?? 0) >= 0x80;
  return Buffer.concat([Buffer.from(padded ? [0x02, digits.length + 1, 0] : [0x02, digits.length]), digits]);
};

export const p1363ToDer = (signature: Uint8Array): Buffer => {
  const half = signature.length / 2;
  const body = Buffer.concat([derInteger(signature.subarray(0, half)), derInteger(signature.subarray(half))]);
  return Buffer.concat([Buffer.from(body.length < 0x80 ? [0x30, body.length] : [0x30, 0x81, body.length]), body]);
};

/** undefined when it is not the one DER encoding of two positive integers that fit. */
export const derToP1363 = (signature: Uint8Array, scalarBytes: number): Buffer | undefined => {
  const long = signature[1] === 0x81;
  const start = long ? 3 : 2;
  const length = signature[long ? 2 : 1] ?? -1;
  if (signature[0] !== 0x30 || length < 0 || length >= 0x80 !== long || start + length !== signature.length) return undefined;
  const result = Buffer.alloc(scalarBytes * 2);
  let at = start;
  for (const half of [0, 1]) {
    const size = signature[at + 1] ?? 0;
    const digits = signature.subarray(at + 2, at + 2 + size);
    if (signature[at] !== 0x02 || size === 0 || size >= 0x80 || digits.length !== size) return undefined;
    const leadingZero = digits[0] === 0;
    if ((digits[0] ?? 0) >= 0x80 || (leadingZero && size > 1 && (digits[1] ?? 0) < 0x80)) return undefined;
    const value = leadingZero ? digits.subarray(1) : digits;
    if (value.length > scalarBytes) return undefined;
    result.set(value, scalarBytes * (half + 1) - value.length);
    at += 2 + size;
  }
  return at === signature.length ? result : undefined;
};

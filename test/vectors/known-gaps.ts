// Official cases that do not pass, by name (transposed ones and other encodings by the name the test shows), with the reason. A listed case that
// passes fails the suite, so that the list only gets shorter; an unlisted one that fails fails it.

export const KNOWN_GAPS: Readonly<Record<string, string>> = {};

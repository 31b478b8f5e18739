/** KMIP wire format. */
export const KMIP_VERSIONS = ['1.0', '1.1', '1.2', '1.3', '1.4', '2.0', '2.1', '3.0'] as const;
export type KmipVersion = (typeof KMIP_VERSIONS)[number];

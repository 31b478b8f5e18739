export { type BatchRequest, type BatchResult, KmipClient, type KmipClientOptions, KmipRefusal } from './kmip-client.js';

/** What storage needs of a logger; pino's Logger is one. Fields never hold secrets or payloads. */
export interface StorageLog {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

import { type Logger, pino, stdTimeFunctions } from 'pino';

/** Structured logs on standard error. Names that could ever hold a secret are censored wherever they appear. */
export function makeLogger(level: string): Logger {
  return pino(
    {
      level,
      base: null,
      timestamp: stdTimeFunctions.isoTime,
      redact: {
        paths: [
          'token',
          'pin',
          'passphrase',
          'authorization',
          '*.token',
          '*.pin',
          '*.passphrase',
          '*.authorization',
          'req.headers.authorization',
        ],
        censor: '[redacted]',
      },
    },
    process.stderr,
  );
}

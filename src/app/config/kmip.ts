import { isAbsolute, resolve } from 'node:path';
import { type Static, Type } from '@sinclair/typebox';

/** The `kmip` part of the configuration: schema, and what is in force when it says nothing. */

const closed = { additionalProperties: false } as const;
const count = (minimum: number, maximum: number, description: string) => Type.Optional(Type.Integer({ minimum, maximum, description }));

export const KmipSchema = Type.Object(
  {
    enabled: Type.Optional(Type.Boolean({ description: 'Default true.' })),
    host: Type.Optional(Type.String({ description: 'Address to listen on. Default 127.0.0.1.' })),
    port: Type.Optional(Type.Integer({ minimum: 0, maximum: 65_535, description: 'TTLV over TLS. Default 5696; 0 = any free port.' })),
    httpsPort: Type.Optional(
      Type.Integer({ minimum: 0, maximum: 65_535, description: 'HTTPS binding (POST /kmip). Default 5697; 0 = any free port.' }),
    ),
    https: Type.Optional(Type.Boolean({ description: 'Serve the HTTPS binding. Default true.' })),
    names: Type.Optional(
      Type.Array(Type.String(), { description: 'Names and addresses of this server, for the certificate that Aegis issues itself.' }),
    ),
    tls: Type.Optional(
      Type.Object(
        {
          certificate: Type.String({ description: 'PEM file: certificate and chain.' }),
          key: Type.String({ description: 'PEM file: private key.' }),
          clientCa: Type.String({ description: 'PEM file: authorities whose client certificates are accepted.' }),
          crl: Type.Optional(Type.String({ description: 'PEM file: revocation lists, one for every authority.' })),
        },
        { ...closed, description: 'Certificate and authorities of your own. Default: those of the internal authority.' },
      ),
    ),
    clientCertificates: Type.Optional(
      Type.Union([Type.Literal('required'), Type.Literal('optional')], {
        description: 'optional: connections without certificate may authenticate by username and password. Default required.',
      }),
    ),
    clientEku: Type.Optional(
      Type.Union([Type.Literal('required'), Type.Literal('if-present'), Type.Literal('ignored')], {
        description: 'Extended key usage clientAuth of client certificates. Default if-present.',
      }),
    ),
    rngSeed: Type.Optional(
      Type.Union([Type.Literal('accept'), Type.Literal('partial'), Type.Literal('ignore'), Type.Literal('refuse')], {
        description: 'What RNG Seed does. Default accept.',
      }),
    ),
    interop: Type.Optional(
      Type.Boolean({ description: 'Answer the Interop operation of tests. Default: only where the plane listens on a loopback address.' }),
    ),
    limits: Type.Optional(
      Type.Object(
        {
          messageBytes: count(1_024, 64 * 1024 * 1024, 'Largest request. Default 1 MiB.'),
          batchItems: count(1, 100_000, 'Batch items of one request. Default 1,000.'),
          connections: count(1, 1_000_000, 'Open connections. Default 10,000.'),
          handshakes: count(1, 100_000, 'Connections whose TLS handshake is not finished. Default 512.'),
          handshakeTimeoutMs: count(100, 600_000, 'Default 10,000.'),
          messageTimeoutMs: count(100, 600_000, 'A message must be whole this long after its first byte. Default 30,000.'),
          pipelined: count(1, 10_000, 'Requests of one connection that wait. Default 64.'),
          idleTimeoutMs: count(0, 7 * 86_400_000, 'Silent connections are closed after this long; 0 = never. Default 0.'),
          requestTimeoutMs: count(100, 600_000, 'Longest a request may run. Default 60,000.'),
          asynchronous: count(1, 100_000, 'Asynchronous requests kept for one principal. Default 100.'),
          asynchronousKeepMs: count(1_000, 86_400_000, 'How long the result of an asynchronous request is kept. Default 600,000.'),
        },
        closed,
      ),
    ),
  },
  { ...closed, description: 'The KMIP plane.' },
);
type KmipFile = Static<typeof KmipSchema>;

export interface KmipConfig {
  readonly enabled: boolean;
  readonly host: string;
  readonly port: number;
  /** Undefined: no HTTPS binding. */
  readonly httpsPort: number | undefined;
  /** The ports are the defaults: where one is taken, the service starts without this plane and says so. */
  readonly defaultPorts: boolean;
  readonly names: readonly string[];
  readonly tls: NonNullable<KmipFile['tls']> | undefined;
  readonly certificateOptional: boolean;
  readonly clientEku: 'required' | 'if-present' | 'ignored';
  readonly rngSeed: 'accept' | 'partial' | 'ignore' | 'refuse';
  readonly interop: boolean;
  readonly limits: NonNullable<KmipFile['limits']>;
}

const DEFAULT_PORT = 5_696;
const DEFAULT_HTTPS_PORT = 5_697;
const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|::1)$/;

interface Environment {
  readonly port: number | undefined;
  readonly httpsPort: number | undefined;
  readonly host: string | undefined;
}

/** File < environment. Relative paths mean: relative to the data directory. */
export function resolveKmip(file: KmipFile | undefined, env: Environment, dataDir: string): KmipConfig {
  const host = env.host ?? file?.host ?? '127.0.0.1';
  const absolute = (path: string): string => (isAbsolute(path) ? path : resolve(dataDir, path));
  const tls = file?.tls;
  return {
    enabled: file?.enabled ?? true,
    host,
    port: env.port ?? file?.port ?? DEFAULT_PORT,
    httpsPort: file?.https === false ? undefined : (env.httpsPort ?? file?.httpsPort ?? DEFAULT_HTTPS_PORT),
    defaultPorts: env.port === undefined && file?.port === undefined,
    names: file?.names ?? [],
    tls:
      tls === undefined
        ? undefined
        : {
            certificate: absolute(tls.certificate),
            key: absolute(tls.key),
            clientCa: absolute(tls.clientCa),
            ...(tls.crl === undefined ? {} : { crl: absolute(tls.crl) }),
          },
    certificateOptional: file?.clientCertificates === 'optional',
    clientEku: file?.clientEku ?? 'if-present',
    rngSeed: file?.rngSeed ?? 'accept',
    interop: file?.interop ?? LOOPBACK.test(host),
    limits: file?.limits ?? {},
  };
}

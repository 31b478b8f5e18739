import { type Static, Type } from '@sinclair/typebox';
import { KmipSchema } from './kmip.js';
import { Pkcs11Schema } from './pkcs11.js';

/**
 * The configuration file (`aegis.yaml` in the data directory, or `--config`, or `AEGIS_CONFIG`), as one schema:
 * validation, types, the editors' JSON Schema and docs/reference/configuration.md derive from it.
 */

const closed = { additionalProperties: false } as const;
const SecretSource = Type.Union(
  [
    Type.Object({ file: Type.String({ minLength: 1, description: 'File holding the secret; readable by its owner only.' }) }, closed),
    Type.Object({ env: Type.String({ minLength: 1, description: 'Environment variable holding the secret.' }) }, closed),
    Type.Object({ prompt: Type.String({ minLength: 1, description: 'Text to ask with on the terminal.' }) }, closed),
  ],
  { description: 'Where a secret comes from; never the secret itself.' },
);

const TokenSlot = Type.Object(
  {
    label: Type.Optional(Type.String()),
    serial: Type.Optional(Type.String()),
    uri: Type.Optional(Type.String({ description: 'RFC 7512, e.g. pkcs11:token=aegis' })),
    index: Type.Optional(Type.Integer({ minimum: 0 })),
  },
  { ...closed, minProperties: 1, maxProperties: 1, description: 'Exactly one of label, serial, uri, index.' },
);

const SoftwareRoot = Type.Object(
  {
    kind: Type.Literal('software'),
    seal: Type.Union([
      Type.Object({ kind: Type.Literal('key-file'), path: Type.String(), create: Type.Optional(Type.Boolean()) }, closed),
      Type.Object(
        { kind: Type.Literal('passphrase'), path: Type.String(), passphrase: SecretSource, create: Type.Optional(Type.Boolean()) },
        closed,
      ),
      Type.Object(
        {
          kind: Type.Literal('pkcs11'),
          path: Type.String(),
          create: Type.Optional(Type.Boolean()),
          hsm: Type.Object(
            {
              module: Type.String({ description: 'Absolute path of the PKCS#11 module.' }),
              slot: TokenSlot,
              pin: SecretSource,
              libraryParameters: Type.Optional(Type.String()),
              environment: Type.Optional(Type.Record(Type.String(), Type.String())),
            },
            { ...closed, description: 'The HSM whose AES key seals this root. Needed at start, not to work.' },
          ),
        },
        closed,
      ),
    ]),
    cacheEntries: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000_000 })),
    hosts: Type.Optional(Type.Integer({ minimum: 1, maximum: 32, description: 'Host processes. Default 1.' })),
  },
  { ...closed, description: 'Keys sealed by a file, a passphrase or a key in an HSM.' },
);

const Pkcs11Root = Type.Object(
  {
    kind: Type.Literal('pkcs11'),
    module: Type.String({ description: 'Absolute path of the PKCS#11 module.' }),
    slot: TokenSlot,
    pin: SecretSource,
    storage: Type.Union([Type.Literal('token'), Type.Literal('wrapped')]),
    hosts: Type.Optional(Type.Integer({ minimum: 1, maximum: 32 })),
    libraryParameters: Type.Optional(Type.String()),
    environment: Type.Optional(Type.Record(Type.String(), Type.String())),
    keepAliveMs: Type.Optional(Type.Integer({ minimum: 100, maximum: 600_000 })),
    cacheEntries: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000_000 })),
    sessions: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_024 })),
  },
  { ...closed, description: 'Keys in an HSM, through its PKCS#11 module.' },
);

const VaultAuth = Type.Union(
  [
    Type.Object({ method: Type.Literal('token'), token: SecretSource }, closed),
    Type.Object(
      { method: Type.Literal('approle'), roleId: Type.String(), secretId: SecretSource, mount: Type.Optional(Type.String()) },
      closed,
    ),
    Type.Object(
      {
        method: Type.Literal('kubernetes'),
        role: Type.String(),
        jwtFile: Type.Optional(Type.String()),
        mount: Type.Optional(Type.String()),
      },
      closed,
    ),
  ],
  { description: 'How the root signs in to Vault or OpenBao.' },
);

const VaultProvider = Type.Object(
  {
    kind: Type.Literal('vault'),
    address: Type.String({ description: 'https://host:8200; plain http on loopback only.' }),
    namespace: Type.Optional(Type.String()),
    mount: Type.Optional(Type.String({ description: 'Mount of the Transit engine. Default transit.' })),
    auth: VaultAuth,
    caFile: Type.Optional(Type.String({ description: 'PEM bundle to trust instead of the system’s authorities.' })),
    timeoutMs: Type.Optional(Type.Integer({ minimum: 100, maximum: 60_000, description: 'One attempt of one call. Default 5,000.' })),
    connections: Type.Optional(Type.Integer({ minimum: 1, maximum: 4_096, description: 'Default 256.' })),
  },
  { ...closed, description: 'HashiCorp Vault or OpenBao, Transit secrets engine.' },
);

const AwsProvider = Type.Object(
  {
    kind: Type.Literal('aws'),
    region: Type.String(),
    endpoint: Type.Optional(Type.String({ description: 'VPC endpoint or emulator; plain http on loopback only.' })),
    profile: Type.Optional(Type.String({ description: 'Profile of the shared AWS configuration files.' })),
    timeoutMs: Type.Optional(Type.Integer({ minimum: 100, maximum: 60_000, description: 'One attempt of one call. Default 5,000.' })),
    connections: Type.Optional(Type.Integer({ minimum: 1, maximum: 4_096, description: 'Default 256.' })),
  },
  { ...closed, description: 'AWS KMS, through @aws-sdk/client-kms (install it beside Aegis) and its default credential chain.' },
);

const CloudRoot = Type.Object(
  {
    kind: Type.Literal('cloud-envelope'),
    mode: Type.Union([Type.Literal('envelope'), Type.Literal('layered')], {
      description: 'envelope: the software engine, sealed by a key of the provider. layered: keys stay at the provider.',
    }),
    provider: Type.Union([VaultProvider, AwsProvider]),
    seal: Type.Object(
      {
        key: Type.String({ description: 'The provider’s key that seals this root’s own sealing keys.' }),
        path: Type.String({ description: 'File that holds them, sealed.' }),
        create: Type.Optional(Type.Boolean({ description: 'Make the key and the file when they are not there.' })),
      },
      closed,
    ),
    refreshMs: Type.Optional(
      Type.Integer({ minimum: 1_000, maximum: 86_400_000, description: 'How often the provider is asked again. Default 60,000.' }),
    ),
    graceMs: Type.Optional(
      Type.Integer({ minimum: 0, maximum: 7 * 86_400_000, description: 'How long its silence is borne. Default 3,600,000.' }),
    ),
    cacheEntries: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000_000 })),
    hosts: Type.Optional(Type.Integer({ minimum: 1, maximum: 32 })),
  },
  { ...closed, description: 'On a cloud key service.' },
);

export const RootSettingsSchema = Type.Union([SoftwareRoot, Pkcs11Root, CloudRoot]);
export type RootSettings = Static<typeof RootSettingsSchema>;

export const ConfigSchema = Type.Object(
  {
    $schema: Type.Optional(Type.String()),
    node: Type.Optional(
      Type.Object(
        {
          id: Type.Optional(
            Type.String({
              pattern: '^[A-Za-z0-9._-]{1,64}$',
              description: 'Stable name of this node. Default: made once and kept in the data directory.',
            }),
          ),
        },
        closed,
      ),
    ),
    database: Type.Optional(
      Type.Object(
        {
          url: Type.Optional(SecretSource),
          maxConnections: Type.Optional(Type.Integer({ minimum: 4, maximum: 200 })),
        },
        { ...closed, description: 'External PostgreSQL ≥ 14. Without it a private server runs in the data directory.' },
      ),
    ),
    rest: Type.Optional(
      Type.Object(
        {
          host: Type.Optional(Type.String({ description: 'Address to listen on. Default 127.0.0.1.' })),
          port: Type.Optional(Type.Integer({ minimum: 0, maximum: 65_535, description: 'Default 8420; 0 = any free port.' })),
          hostNames: Type.Optional(Type.Array(Type.String(), { description: 'Further names accepted in the Host header.' })),
          tls: Type.Optional(
            Type.Object(
              {
                certificate: Type.String({ description: 'PEM file: certificate and chain.' }),
                key: Type.String({ description: 'PEM file: private key.' }),
                clientCa: Type.Optional(Type.String({ description: 'PEM file: authorities whose client certificates are accepted.' })),
                clientCertificates: Type.Optional(Type.Union([Type.Literal('off'), Type.Literal('optional'), Type.Literal('required')])),
              },
              closed,
            ),
          ),
          bodyBytes: Type.Optional(
            Type.Integer({ minimum: 1_024, maximum: 64 * 1024 * 1024, description: 'Largest request body. Default 2 MiB.' }),
          ),
          concurrency: Type.Optional(
            Type.Integer({ minimum: 1, maximum: 65_536, description: 'Requests in progress before 503. Default 1,024.' }),
          ),
          requestTimeoutMs: Type.Optional(Type.Integer({ minimum: 100, maximum: 600_000 })),
        },
        closed,
      ),
    ),
    kmip: Type.Optional(KmipSchema),
    pkcs11: Type.Optional(Pkcs11Schema),
    roots: Type.Optional(
      Type.Record(Type.String({ pattern: '^[a-z][a-z0-9-]{0,31}$' }), RootSettingsSchema, {
        description: 'Roots of trust by name. Default: one software root named `software`.',
      }),
    ),
    defaultRoot: Type.Optional(Type.String({ description: 'Root for new keys that do not name one.' })),
    policies: Type.Optional(
      Type.Object(
        { directory: Type.Optional(Type.String({ description: 'Directory of *.yaml policy documents for the tenant `default`.' })) },
        closed,
      ),
    ),
    keys: Type.Optional(
      Type.Object(
        {
          destroyPendingMs: Type.Optional(
            Type.Integer({
              minimum: 0,
              maximum: 365 * 86_400_000,
              description: 'Pending window of a destroy that names none, milliseconds. Default 0.',
            }),
          ),
        },
        closed,
      ),
    ),
    audit: Type.Optional(
      Type.Object(
        {
          checkpointEveryMs: Type.Optional(Type.Integer({ minimum: 1_000, maximum: 86_400_000, description: 'Default 60,000.' })),
          maxPending: Type.Optional(Type.Integer({ minimum: 16, maximum: 1_000_000 })),
        },
        closed,
      ),
    ),
    log: Type.Optional(
      Type.Object(
        {
          level: Type.Optional(
            Type.Union((['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const).map((level) => Type.Literal(level))),
          ),
        },
        closed,
      ),
    ),
  },
  { ...closed, $id: 'https://aegis.invalid/config.schema.json', title: 'Aegis configuration' },
);
export type ConfigFile = Static<typeof ConfigSchema>;

/** Where a secret comes from. Never argv, never the value itself in a config file. */
export type SecretSource =
  /** File of bytes; one trailing newline is dropped. Must not be readable by group or others. */
  | { readonly file: string }
  /** Environment variable of the host process. */
  | { readonly env: string }
  /** Asked for on the controlling terminal by the host. */
  | { readonly prompt: string };

/** The HSM whose key seals a software root; fields as of Pkcs11RootConfig. */
export interface HsmSeal {
  readonly module: string;
  readonly slot: { readonly label?: string; readonly serial?: string; readonly uri?: string; readonly index?: number };
  readonly pin: SecretSource;
  readonly libraryParameters?: string;
  readonly environment?: Readonly<Record<string, string>>;
}

export interface SoftwareRootConfig {
  readonly id: string;
  readonly kind: 'software';
  readonly seal: /** Sealing keys in a 0600 file, made on first use when `create` is set. */
    | { readonly kind: 'key-file'; readonly path: string; readonly create?: boolean }
    /** Sealing key encrypted by a passphrase (scrypt); `path` holds the encrypted key and its parameters, no secret in clear. */
    | { readonly kind: 'passphrase'; readonly path: string; readonly passphrase: SecretSource; readonly create?: boolean }
    /** Sealing key encrypted by an AES key that never leaves an HSM; `path` holds it so encrypted. */
    | { readonly kind: 'pkcs11'; readonly path: string; readonly hsm: HsmSeal; readonly create?: boolean };
  /** Opened keys kept in memory (LRU). Default 10,000. */
  readonly cacheEntries?: number;
  /** Host processes. Default 1. */
  readonly hosts?: number;
}

export interface Pkcs11RootConfig {
  readonly id: string;
  readonly kind: 'pkcs11';
  /** Absolute path of the module (.so / .dll / .dylib). */
  readonly module: string;
  /** Exactly one of label, serial, uri (RFC 7512 `pkcs11:token=…;serial=…`) or index in the slot list. */
  readonly slot: { readonly label?: string; readonly serial?: string; readonly uri?: string; readonly index?: number };
  readonly pin: SecretSource;
  /** `token`: each key is a token object. `wrapped`: keys live outside, wrapped by a token key, opened on demand. */
  readonly storage: 'token' | 'wrapped';
  /** Host processes on this token. Default 1. */
  readonly hosts?: number;
  /** CK_C_INITIALIZE_ARGS.pReserved string (NSS, YubiHSM, Google). */
  readonly libraryParameters?: string;
  /** Environment for the module (SOFTHSM2_CONF, CKNFAST_…); added to the host's own. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Keep-alive period, ms; must be under the module's idle limit. Default 20,000. */
  readonly keepAliveMs?: number;
  /** Session objects and handles kept open (LRU). Default 1,000. */
  readonly cacheEntries?: number;
  /** Sessions in the pool of one host. Default 8. */
  readonly sessions?: number;
}

/** HashiCorp Vault or OpenBao, its Transit secrets engine. */
export interface VaultProviderConfig {
  readonly kind: 'vault';
  /** `https://host:8200`; plain http only on loopback. */
  readonly address: string;
  readonly namespace?: string;
  /** Mount of the Transit engine. Default `transit`. */
  readonly mount?: string;
  readonly auth:
    | { readonly method: 'token'; readonly token: SecretSource }
    | { readonly method: 'approle'; readonly roleId: string; readonly secretId: SecretSource; readonly mount?: string }
    | { readonly method: 'kubernetes'; readonly role: string; readonly jwtFile?: string; readonly mount?: string };
  /** PEM bundle to trust instead of the system's authorities. */
  readonly caFile?: string;
  /** One attempt of one call. Default 5,000 ms. */
  readonly timeoutMs?: number;
  /** Connections kept open. Default 256. */
  readonly connections?: number;
}

/** AWS KMS, through @aws-sdk/client-kms and its default credential chain. */
export interface AwsProviderConfig {
  readonly kind: 'aws';
  readonly region: string;
  /** For a VPC endpoint or an emulator; plain http only on loopback. */
  readonly endpoint?: string;
  /** Profile of the shared configuration files. */
  readonly profile?: string;
  readonly timeoutMs?: number;
  readonly connections?: number;
}

export interface CloudRootConfig {
  readonly id: string;
  readonly kind: 'cloud-envelope';
  /**
   * `envelope`: the software engine, its sealing keys sealed by a key of the provider. `layered`: no key moves; each call
   * is done by the provider.
   */
  readonly mode: 'envelope' | 'layered';
  readonly provider: VaultProviderConfig | AwsProviderConfig;
  /** The provider's key that seals this root's own sealing keys, and the 0600 file that holds them sealed. */
  readonly seal: { readonly key: string; readonly path: string; readonly create?: boolean };
  /** How often the provider is asked whether it still opens the seal, ms. Default 60,000. */
  readonly refreshMs?: number;
  /** How long the seal stays open while the provider can't be asked, ms. Default 3,600,000. */
  readonly graceMs?: number;
  /** Opened keys kept in memory, envelope mode. Default 10,000. */
  readonly cacheEntries?: number;
  /** Host processes. Default 1. */
  readonly hosts?: number;
}

export type RootConfig = SoftwareRootConfig | Pkcs11RootConfig | CloudRootConfig;

/** How the server runs hosts. */
export interface HostOptions {
  /** A call that takes longer fails as `unavailable`; a host that misses it is replaced. Default 10,000 ms. */
  readonly callTimeoutMs?: number;
  /** First call after start (module load, login, probe). Default 30,000 ms. */
  readonly startTimeoutMs?: number;
  /** Calls in flight per host before `limit-exceeded`. Default 4,096. */
  readonly maxInFlight?: number;
  /** Largest frame either way, bytes. Default 64 MiB. */
  readonly maxFrame?: number;
  /** Resolve even if the root can't be opened now (HSM down, wrong PIN): `unavailable` until it can. Default false. */
  readonly lazy?: boolean;
  /** For operators' logs: starts, deaths, restarts, back-off. Never secrets. */
  readonly onEvent?: (event: {
    readonly root: string;
    readonly host: number;
    readonly kind: 'started' | 'ready' | 'died' | 'hung' | 'restarting' | 'stopped';
    readonly detail?: string;
  }) => void;
}

import { isAbsolute, resolve } from 'node:path';
import { type Static, Type } from '@sinclair/typebox';

/** The `pkcs11` part of the configuration: schema, and what is in force when it says nothing. */

const closed = { additionalProperties: false } as const;
const NAME = '^[a-z][a-z0-9-]{0,31}$';

const SocketSchema = Type.Object(
  {
    name: Type.String({ pattern: NAME, description: 'Name of the socket in audit records and messages.' }),
    path: Type.String({ minLength: 1, description: 'Path of the Unix socket, at most 107 bytes; relative to the data directory.' }),
    mode: Type.Optional(
      Type.String({ pattern: '^0?[0-7]{3}$', description: 'File mode, octal. Default 0600; clients need write permission.' }),
    ),
    group: Type.Optional(Type.String({ minLength: 1, description: 'Group of the socket file.' })),
    tenants: Type.Optional(
      Type.Array(Type.String({ minLength: 1, maxLength: 64 }), {
        minItems: 1,
        maxItems: 64,
        uniqueItems: true,
        description: 'Tenants shown, one token each. Default [default].',
      }),
    ),
    principal: Type.Optional(
      Type.String({
        minLength: 1,
        description: 'Name or id of the principal that whoever opens this socket acts as. Default: none, applications log in (C_Login).',
      }),
    ),
  },
  closed,
);

export const Pkcs11Schema = Type.Object(
  {
    enabled: Type.Optional(Type.Boolean({ description: 'Default true.' })),
    publicSessions: Type.Optional(
      Type.Boolean({
        description:
          'Whether applications that have not logged in may make and use session objects that are not private (CKA_TOKEN and CKA_PRIVATE false), at most 64 for each connection. Default: on sockets that their owner alone can open (mode 0600), and not on others.',
      }),
    ),
    sockets: Type.Optional(
      Type.Array(SocketSchema, {
        minItems: 1,
        maxItems: 64,
        description: 'One socket for each trust domain. Default: pkcs11.sock in the data directory.',
      }),
    ),
  },
  { ...closed, description: 'PKCS#11 for applications on this machine, through the stock p11-kit client.' },
);

export interface Pkcs11SocketConfig {
  readonly name: string;
  readonly path: string;
  readonly mode: number;
  readonly group: string | undefined;
  readonly tenants: readonly string[];
  /** Name or id, in the first of the tenants. */
  readonly principal: string | undefined;
  /** Whether a session without login may have public session objects. */
  readonly publicSessions: boolean;
}
export interface Pkcs11Config {
  readonly enabled: boolean;
  readonly sockets: readonly Pkcs11SocketConfig[];
}

const GROUP_AND_OTHERS = 0o077;

/** `socket` and `principal` come from the environment and replace those of the first socket. */
export function resolvePkcs11(
  file: Static<typeof Pkcs11Schema> | undefined,
  environment: { readonly socket: string | undefined; readonly principal: string | undefined },
  dataDir: string,
): Pkcs11Config {
  const given = file?.sockets ?? [{ name: 'default', path: 'pkcs11.sock' }];
  const sockets = given.map((one, at): Pkcs11SocketConfig => {
    const path =
      at === 0 && environment.socket !== undefined
        ? resolve(environment.socket)
        : isAbsolute(one.path)
          ? one.path
          : resolve(dataDir, one.path);
    const mode = Number.parseInt(('mode' in one ? one.mode : undefined) ?? '0600', 8);
    return {
      name: one.name,
      path,
      mode,
      group: 'group' in one ? one.group : undefined,
      tenants: ('tenants' in one ? one.tenants : undefined) ?? ['default'],
      principal: (at === 0 ? environment.principal : undefined) ?? ('principal' in one ? one.principal : undefined),
      publicSessions: file?.publicSessions ?? (mode & GROUP_AND_OTHERS) === 0,
    };
  });
  return { enabled: environment.socket !== 'off' && file?.enabled !== false, sockets };
}

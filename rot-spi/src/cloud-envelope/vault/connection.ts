import { readFileSync } from 'node:fs';
import type { VaultProviderConfig } from '../../config.js';
import { RootFault } from '../../fault.js';
import { Secret } from '../../secret.js';
import { SECRET_ACCESS } from '../../secret-access.js';
import { readSecretSource } from '../../secret-source.js';
import { makeBreaker } from '../breaker.js';
import { type JsonAnswer, makeJsonClient } from '../json-client.js';
import { Retryable, withRetries } from '../retry.js';

const DEFAULT_TIMEOUT_MS = 5_000;
const DEFAULT_CONNECTIONS = 256;
const RETRIES = { attempts: 4, baseMs: 50, maxMs: 1_000, budgetMs: 7_000 } as const;
const BREAKER = { failures: 5, openMs: 2_000 } as const;
/** A token is renewed when a third of its time is left, and looked at no more often than this. */
const MIN_RENEW_MS = 1_000;
const MAX_RENEW_MS = 6 * 3_600_000;
/** Vault: standby 429 and 472/473 on sys/health only; these on any path mean "ask again". */
const BUSY = new Set([429, 500, 502, 503, 504]);

export interface VaultConnection {
  /** Answers `data` of the response; undefined for 204 and 404 of a read. Throws RootFault. */
  call(method: 'GET' | 'POST' | 'DELETE', path: string, body?: unknown): Promise<Record<string, unknown> | undefined>;
  /** `version`, `cluster_name`, `sealed` … of sys/health. */
  health(): Promise<Record<string, unknown>>;
  close(): void;
}

interface Login {
  readonly token: Secret;
  /** 0 = never ends. */
  readonly leaseMs: number;
  readonly renewable: boolean;
}

const asRecord = (value: unknown): Record<string, unknown> | undefined =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : undefined;

/** Vault's own words, one line, bounded: they name paths and policies, never values. */
const errorsOf = (answer: JsonAnswer): string => {
  const errors = asRecord(answer.body)?.['errors'];
  const text = Array.isArray(errors) ? errors.filter((one) => typeof one === 'string').join('; ') : '';
  return text.replaceAll(/\s+/g, ' ').trim().slice(0, 300);
};

const isSealed = (answer: JsonAnswer): boolean => answer.status === 503 && /sealed/i.test(errorsOf(answer));

const toFault = (answer: JsonAnswer, where: string): Error => {
  const said = errorsOf(answer);
  const detail = said === '' ? `status ${answer.status}` : said;
  if (isSealed(answer)) return new RootFault('sealed', `${where} is sealed`, 'Unseal it; this root opens again by itself.');
  // Transit reports an RSA ciphertext that does not decrypt as an error of its own.
  if (answer.status === 500 && /rsa decrypt|decryption error/i.test(said))
    return new RootFault('decryption-failed', 'the ciphertext does not decrypt under this key');
  if (BUSY.has(answer.status)) {
    const fault = new RootFault('unavailable', `${where} could not answer: ${detail}`, 'See its own log; the call may be tried again.');
    return new Retryable(fault, answer.retryAfterMs);
  }
  if (answer.status === 401 || answer.status === 403)
    return new RootFault(
      'sealed',
      `${where} refuses this token: ${detail}`,
      'Give the root a valid token whose policy allows the transit paths (docs/roots/vault.md).',
    );
  if (answer.status === 404) return new RootFault('key-not-found', `${where}: ${detail}`, 'Check the mount and the name of the key.');
  return new RootFault('invalid-argument', `${where} refused the call: ${detail}`);
};

/** One authenticated connection to Vault or OpenBao: time-outs, bounded retries, a circuit breaker, token renewal. */
export const makeVaultConnection = (config: VaultProviderConfig): VaultConnection => {
  const where = `Vault at ${config.address}`;
  const client = makeJsonClient({
    address: config.address,
    timeoutMs: config.timeoutMs ?? DEFAULT_TIMEOUT_MS,
    connections: config.connections ?? DEFAULT_CONNECTIONS,
    ...(config.caFile === undefined ? {} : { caFile: config.caFile }),
  });
  const breaker = makeBreaker(BREAKER);
  const fixed = {
    'x-vault-request': 'true',
    ...(config.namespace === undefined ? {} : { 'x-vault-namespace': config.namespace }),
  };
  let login: Promise<Login> | undefined;
  let renewal: NodeJS.Timeout | undefined;
  let closed = false;

  const attempt = async (method: 'GET' | 'POST' | 'DELETE', path: string, body: unknown, token?: Secret): Promise<JsonAnswer> => {
    const headers = token === undefined ? fixed : { ...fixed, 'x-vault-token': token.bytes(SECRET_ACCESS).toString('latin1') };
    return client.send(method, `/v1/${path}`, headers, body);
  };

  const post = async (path: string, body: unknown, token?: Secret): Promise<Record<string, unknown>> => {
    const answer = await attempt('POST', path, body, token);
    if (answer.status >= 300) throw toFault(answer, where);
    return asRecord(asRecord(answer.body)?.['auth']) ?? {};
  };

  const toLogin = (auth: Record<string, unknown>, fallback?: Secret): Login => {
    const token = auth['client_token'];
    const lease = Number(auth['lease_duration'] ?? 0);
    if (typeof token !== 'string' && fallback === undefined) throw new RootFault('sealed', `${where} gave no token`);
    return {
      token: typeof token === 'string' ? Secret.take(Buffer.from(token, 'latin1')) : (fallback as Secret),
      leaseMs: lease * 1_000,
      renewable: auth['renewable'] === true,
    };
  };

  const signIn = async (): Promise<Login> => {
    const { auth } = config;
    if (auth.method === 'token') {
      const token = await readSecretSource(auth.token);
      const answer = await attempt('GET', 'auth/token/lookup-self', undefined, token);
      if (answer.status >= 300) throw toFault(answer, where);
      const data = asRecord(asRecord(answer.body)?.['data']) ?? {};
      return { token, leaseMs: Number(data['ttl'] ?? 0) * 1_000, renewable: data['renewable'] === true };
    }
    const mount = auth.mount ?? auth.method;
    if (auth.method === 'approle') {
      const secret = await readSecretSource(auth.secretId);
      try {
        const body = { role_id: auth.roleId, secret_id: secret.bytes(SECRET_ACCESS).toString('utf8') };
        return toLogin(await post(`auth/${mount}/login`, body));
      } finally {
        secret.zeroise();
      }
    }
    const jwt = readFileSync(auth.jwtFile ?? '/var/run/secrets/kubernetes.io/serviceaccount/token', 'utf8').trim();
    return toLogin(await post(`auth/${mount}/login`, { role: auth.role, jwt }));
  };

  const renewLater = ({ leaseMs, renewable }: Login): void => {
    clearTimeout(renewal);
    if (leaseMs === 0 || closed) return;
    const inMs = Math.min(MAX_RENEW_MS, Math.max(MIN_RENEW_MS, (leaseMs * 2) / 3));
    renewal = setTimeout(() => void renew(renewable), inMs);
    renewal.unref();
  };

  const renew = async (renewable: boolean): Promise<void> => {
    const current = login;
    if (current === undefined || closed) return;
    try {
      const before = await current;
      const next = renewable ? toLogin(await post('auth/token/renew-self', {}, before.token), before.token) : await signIn();
      login = Promise.resolve(next);
      renewLater(next);
    } catch {
      // The next call signs in anew; what is wrong with the credentials is said there.
      if (login === current) login = undefined;
    }
  };

  const signedIn = (): Promise<Login> => {
    if (login === undefined) {
      const attemptLogin = withRetries(signIn, RETRIES);
      login = attemptLogin;
      attemptLogin.then(renewLater, () => {
        if (login === attemptLogin) login = undefined;
      });
    }
    return login;
  };

  const once = async (method: 'GET' | 'POST' | 'DELETE', path: string, body: unknown): Promise<JsonAnswer> => {
    const current = signedIn();
    const answer = await attempt(method, path, body, (await current).token);
    // A token that ended early (revoked, or its role's limit) is fetched once more, except where it is all we have.
    if (answer.status !== 403 || config.auth.method === 'token') return answer;
    if (login === current) login = undefined;
    return attempt(method, path, body, (await signedIn()).token);
  };

  return {
    call: (method, path, body) =>
      breaker.run(() =>
        withRetries(async () => {
          const answer = await once(method, path, body);
          if (answer.status === 404 && method === 'GET') return undefined;
          if (answer.status >= 300) throw toFault(answer, where);
          return asRecord(asRecord(answer.body)?.['data']) ?? {};
        }, RETRIES),
      ),
    health: async () => {
      const answer = await attempt('GET', 'sys/health?standbyok=true&perfstandbyok=true&sealedcode=200&uninitcode=200', undefined);
      return asRecord(answer.body) ?? {};
    },
    close: () => {
      closed = true;
      clearTimeout(renewal);
      login?.then(
        ({ token }) => token.zeroise(),
        () => undefined,
      );
      client.close();
    },
  };
};

import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import fs from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FaultError } from '../../src/domain/index.js';
import { type AdminParts, BOOTSTRAP_ADMIN_ID, bootstrapAdmin, recoverAdmin } from '../../src/identity/bootstrap.js';
import { makeIdentifier } from '../../src/identity/identifier.js';
import { makeToken } from '../../src/identity/token.js';
import { add, faultOf, type MemoryIdentity, makeMemoryIdentity, NOW } from './memory-identity.js';

let dataDir: string;
let memory: MemoryIdentity;
beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'aegis-identity-'));
  memory = makeMemoryIdentity();
});
afterEach(() => rmSync(dataDir, { recursive: true, force: true }));

const parts = (over: Partial<AdminParts> = {}): AdminParts => ({
  storage: { identity: memory.store },
  journal: memory.journal,
  dataDir,
  clock: () => NOW,
  ...over,
});
const file = () => join(dataDir, 'admin-token');
const inFile = () => readFileSync(file(), 'utf8').trim();
const whoIs = async (token: string) => {
  const credential = { kind: 'bearer', token } as const;
  const found = await makeIdentifier({ store: memory.store }).identify(
    credential,
    { plane: 'rest', credential, requestId: 'r', source: 's' },
    NOW,
  );
  return found.principal;
};

describe('the first start', () => {
  it('makes one admin with one token, in a file of the operator, once', async () => {
    const access = await bootstrapAdmin(parts());
    expect(access).toMatchObject({ tenant: 'default', principalId: BOOTSTRAP_ADMIN_ID, path: file() });
    expect(inFile()).toBe(access?.token);
    expect(statSync(file()).mode & 0o777).toBe(0o600);
    expect(await whoIs(inFile())).toMatchObject({ kind: 'human', tenant: 'default', roles: ['admin'] });
    expect(await bootstrapAdmin(parts())).toBeUndefined();
    expect(memory.records).toEqual([
      { operation: 'create-principal', actor: 'system:bootstrap', detail: expect.objectContaining({ bootstrap: true }) },
    ]);
    expect(JSON.stringify(memory.records)).not.toContain(access?.token.slice(23));
    expect(readdirSync(dataDir)).toEqual(['admin-token']);
  });

  it('does nothing where principals exist, whatever file is there', async () => {
    add(memory);
    writeFileSync(file(), 'something');
    expect(await bootstrapAdmin(parts())).toBeUndefined();
    expect(inFile()).toBe('something');
  });

  it('leaves the operator with access wherever it is killed', async () => {
    class Killed extends Error {}
    const moments = ['before the commit', 'after the commit', 'during the write of the file', 'before the rename'] as const;
    for (const moment of moments) {
      rmSync(dataDir, { recursive: true, force: true });
      mkdirSync(dataDir, { mode: 0o700 });
      memory = makeMemoryIdentity();
      const commit: AdminParts['journal']['commit'] = async (draft, changes) => {
        if (moment === 'before the commit') throw new Killed();
        const fault = await memory.journal.commit(draft, changes);
        throw fault === undefined ? new Killed() : new FaultError(fault);
      };
      if (moment === 'during the write of the file' || moment === 'before the rename')
        // What such a kill leaves behind: a temporary file, whole or in part, and no admin-token.
        writeFileSync(join(dataDir, 'admin-token.0123456789abcdef.tmp'), moment === 'before the rename' ? makeToken().token : 'aegis_ab', {
          mode: 0o600,
        });
      else await expect(bootstrapAdmin(parts({ journal: { commit } }))).rejects.toThrow(Killed);
      const again = await bootstrapAdmin(parts());
      expect(again === undefined, moment).toBe(moment === 'after the commit');
      expect(await whoIs(inFile()), moment).toMatchObject({ id: BOOTSTRAP_ADMIN_ID });
      if (again !== undefined) expect(again.token).toBe(inFile());
      expect(readdirSync(dataDir), moment).toEqual(['admin-token']);
    }
  });

  it('uses the file of an attempt that was not committed', async () => {
    const left = makeToken().token;
    writeFileSync(file(), `${left}\n`, { mode: 0o600 });
    expect((await bootstrapAdmin(parts()))?.token).toBe(left);
    expect(await whoIs(left)).toMatchObject({ id: BOOTSTRAP_ADMIN_ID });
  });

  it('does not use a file that others may know or have put there', async () => {
    const planted = makeToken().token;
    const elsewhere = join(dataDir, 'elsewhere');
    const plants = [
      () => {
        writeFileSync(file(), planted);
        chmodSync(file(), 0o644);
      },
      () => {
        writeFileSync(elsewhere, planted, { mode: 0o600 });
        symlinkSync(elsewhere, file());
      },
      () => writeFileSync(file(), planted.slice(0, -1), { mode: 0o600 }),
      () => writeFileSync(file(), `${planted}\n${'x'.repeat(5000)}`, { mode: 0o600 }),
    ];
    for (const plant of plants) {
      rmSync(file(), { force: true });
      memory = makeMemoryIdentity();
      plant();
      const access = await bootstrapAdmin(parts());
      expect(access?.token).not.toBe(planted);
      expect(inFile()).toBe(access?.token);
      expect(statSync(file()).mode & 0o777).toBe(0o600);
      expect((await fs.lstat(file())).isSymbolicLink()).toBe(false);
    }
    expect(readFileSync(elsewhere, 'utf8')).toBe(planted);
  });

  it('of two nodes at once gives one admin, and the other node no file that does not work', async () => {
    const other = mkdtempSync(join(tmpdir(), 'aegis-identity-'));
    const late: AdminParts['journal']['commit'] = async (draft, changes) => {
      await new Promise((resolve) => setTimeout(resolve, 20));
      return memory.journal.commit(draft, changes);
    };
    const results = await Promise.all([bootstrapAdmin(parts()), bootstrapAdmin(parts({ dataDir: other, journal: { commit: late } }))]);
    expect(results[0]).toBeDefined();
    expect(results[1]).toBeUndefined();
    expect(existsSync(join(other, 'admin-token'))).toBe(false);
    expect(memory.state.principals.size).toBe(1);
    rmSync(other, { recursive: true });
  });

  it('says so when the audit is not available, and works the next time with the same token', async () => {
    const commit = async () => {
      throw new FaultError({ code: 'audit-unavailable', message: 'down' });
    };
    expect((await faultOf(bootstrapAdmin(parts({ journal: { commit } }))))?.code).toBe('audit-unavailable');
    const kept = inFile();
    expect((await bootstrapAdmin(parts()))?.token).toBe(kept);
  });

  it('refuses a directory in the place of the file before anything is changed', async () => {
    mkdirSync(file());
    await expect(bootstrapAdmin(parts())).rejects.toThrow(/is a directory/);
    expect(memory.state.principals.size).toBe(0);
  });
});

describe('a lost admin token', () => {
  it('is replaced for whoever has the data directory, audited, the old ones revoked', async () => {
    const first = await bootstrapAdmin(parts());
    const access = await recoverAdmin(parts());
    expect(access.principalId).toBe(BOOTSTRAP_ADMIN_ID);
    expect(inFile()).toBe(access.token);
    expect(statSync(file()).mode & 0o777).toBe(0o600);
    expect(await whoIs(access.token)).toMatchObject({ id: BOOTSTRAP_ADMIN_ID });
    expect((await faultOf(whoIs(first?.token ?? '')))?.code).toBe('credential-revoked');
    expect(access.expiresAt).toBe(NOW + 30 * 86_400_000);
    expect(memory.records.at(-1)).toMatchObject({ operation: 'issue-token', actor: 'system:recovery', detail: { recovery: true } });
  });

  it('may leave the old ones, choose the admin, and the tenant', async () => {
    const first = await bootstrapAdmin(parts());
    const acme = add(memory, { tenant: 'acme', roles: ['admin'] });
    await recoverAdmin({ ...parts(), revokeOthers: false });
    expect(await whoIs(first?.token ?? '')).toBeDefined();
    expect((await recoverAdmin({ ...parts(), tenant: 'acme', principalId: acme.id })).tenant).toBe('acme');
    expect((await faultOf(recoverAdmin({ ...parts(), principalId: acme.id })))?.code).toBe('not-found');
    expect((await faultOf(recoverAdmin({ ...parts(), tenant: 'No Such' })))?.code).toBe('invalid-field');
  });

  it('makes an admin where none is left that works', async () => {
    add(memory, { roles: ['admin'], disabled: true });
    add(memory, { kind: 'agent', roles: ['admin'] } as never);
    const access = await recoverAdmin(parts());
    expect(await whoIs(access.token)).toMatchObject({ kind: 'human', roles: ['admin'], name: expect.stringContaining('recovered-admin') });
    expect(memory.records.at(-1)).toMatchObject({ operation: 'create-principal' });
  });

  it('keeps the file of before until the new token is valid', async () => {
    const first = await bootstrapAdmin(parts());
    const commit = async () => {
      throw new FaultError({ code: 'audit-unavailable', message: 'down' });
    };
    expect((await faultOf(recoverAdmin(parts({ journal: { commit } }))))?.code).toBe('audit-unavailable');
    expect(inFile()).toBe(first?.token);
    expect(readdirSync(dataDir)).toEqual(['admin-token']);
    expect((await faultOf(recoverAdmin(parts({ journal: { commit: async () => ({ code: 'conflict', message: 'x' }) } }))))?.code).toBe(
      'conflict',
    );
    expect(inFile()).toBe(first?.token);
    expect(await whoIs(inFile())).toBeDefined();
  });
});

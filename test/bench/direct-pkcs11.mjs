// What the pkcs11 root is measured against: pkcs11js, one session, hash and C_Sign in a loop, nothing around it.
import { createHash } from 'node:crypto';
import { createRequire } from 'node:module';

const require = createRequire(new URL('../../rot-spi/package.json', import.meta.url));
process.once('message', ({ module: path, slot, pin, seconds }) => {
  const pkcs11 = require('pkcs11js');
  const p = new pkcs11.PKCS11();
  p.load(path);
  p.C_Initialize({ flags: pkcs11.CKF_OS_LOCKING_OK });
  const id = p.C_GetSlotList(true).find((s) => slot.label === undefined || p.C_GetTokenInfo(s).label.trim() === slot.label);
  const session = p.C_OpenSession(id, pkcs11.CKF_SERIAL_SESSION | pkcs11.CKF_RW_SESSION);
  p.C_Login(session, pkcs11.CKU_USER, pin);
  const params = Buffer.from('06082a8648ce3d030107', 'hex');
  const { privateKey } = p.C_GenerateKeyPair(
    session,
    { mechanism: pkcs11.CKM_EC_KEY_PAIR_GEN, parameter: null },
    [
      { type: pkcs11.CKA_TOKEN, value: false },
      { type: pkcs11.CKA_VERIFY, value: true },
      { type: pkcs11.CKA_EC_PARAMS, value: params },
    ],
    [
      { type: pkcs11.CKA_TOKEN, value: false },
      { type: pkcs11.CKA_SIGN, value: true },
      { type: pkcs11.CKA_SENSITIVE, value: true },
    ],
  );
  const data = Buffer.alloc(64, 7);
  const out = Buffer.alloc(256);
  const sign = () => {
    p.C_SignInit(session, { mechanism: pkcs11.CKM_ECDSA, parameter: null }, privateKey);
    p.C_Sign(session, createHash('sha256').update(data).digest(), out);
  };
  for (let i = 0; i < 500; i += 1) sign();
  const started = performance.now();
  let calls = 0;
  while (performance.now() - started < seconds * 1000) {
    for (let i = 0; i < 50; i += 1) sign();
    calls += 50;
  }
  process.send((calls / (performance.now() - started)) * 1000, () => process.exit(0));
});

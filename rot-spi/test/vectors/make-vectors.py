"""Writes rot-spi/src/contract-suite/vectors.ts.

Inputs and, wherever a standard prints them, outputs are the standard's own; every output is computed by a second
implementation (python3-cryptography, hashlib, hmac) and compared with the printed one before it is written.

    python3 rot-spi/test/vectors/make-vectors.py > rot-spi/src/contract-suite/vectors.ts
"""
import hashlib, hmac as hm, json, os, struct, sys
from cryptography.hazmat.primitives import hashes, serialization, cmac, keywrap
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, ed448, x25519, x448, rsa, padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.kbkdf import KBKDFHMAC, KBKDFCMAC, Mode, CounterLocation
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
try:
    from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
    from cryptography.hazmat.decrepit.ciphers.modes import CFB, CFB8, OFB
except ImportError:
    from cryptography.hazmat.primitives.ciphers.algorithms import TripleDES
    CFB, CFB8, OFB = modes.CFB, modes.CFB8, modes.OFB

H = bytes.fromhex
HASH = {'sha1': hashes.SHA1(), 'sha224': hashes.SHA224(), 'sha256': hashes.SHA256(), 'sha384': hashes.SHA384(), 'sha512': hashes.SHA512(),
        'sha3-224': hashes.SHA3_224(), 'sha3-256': hashes.SHA3_256(), 'sha3-384': hashes.SHA3_384(), 'sha3-512': hashes.SHA3_512()}
PY = lambda h: h.replace('sha3-', 'sha3_')

def same(got, printed, where):
    if printed is not None and got != H(printed):
        sys.exit(f'{where}: computed {got.hex()}, printed {printed}')
    return got

def spki(k): return k.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
def pkcs8(k): return k.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())

def run(alg, mode, data, decrypt=False):
    c = Cipher(alg, mode); c = c.decryptor() if decrypt else c.encryptor()
    return c.update(data) + c.finalize()

def pad(data, n): k = n - len(data) % n; return data + bytes([k]) * k

# Ciphers ------------------------------------------------------------------------------------------------------------
ciphers = []
K = {128: '2b7e151628aed2a6abf7158809cf4f3c', 192: '8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b', 256: '603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4'}
P = H('6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710')
IV = H('000102030405060708090a0b0c0d0e0f'); CTR = H('f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff')
# First ciphertext block printed in SP 800-38A App. F.
F = {('ecb', 128): '3ad77bb40d7a3660a89ecaf32466ef97', ('ecb', 192): 'bd334f1d6e45f25ff712a214571fa5cc', ('ecb', 256): 'f3eed1bdb5d2a03c064b5a7e3db181f8',
     ('cbc', 128): '7649abac8119b246cee98e9b12e9197d', ('cbc', 192): '4f021db243bc633d7178183a9fa071e8', ('cbc', 256): 'f58c4c04d6e5f1ba779eabfb5f7bfbd6',
     ('cfb128', 128): '3b3fd92eb72dad20333449f8e83cfb4a', ('cfb128', 192): 'cdc80d6fddf18cab34c25909c99a4174', ('cfb128', 256): 'dc7e84bfda79164b7ecd8486985d3860',
     ('ofb', 128): '3b3fd92eb72dad20333449f8e83cfb4a', ('ofb', 192): 'cdc80d6fddf18cab34c25909c99a4174', ('ofb', 256): 'dc7e84bfda79164b7ecd8486985d3860',
     ('ctr', 128): '874d6191b620e3261bef6864990db6ce', ('ctr', 192): '1abc932417521ca24f2b0459fe7e6e0b', ('ctr', 256): '601ec313775789a5b7a7f504bbf3d228',
     ('cfb8', 128): '3b79424c9c0dd436bace9e0ed4586a4f', ('cfb8', 192): 'cda2521ef0a905ca44cd057cbf0d47a0', ('cfb8', 256): 'dc1f1a8520a64db55fcc8ac554844e88'}
for bits, key in K.items():
    for name, mode, iv in [('ecb', modes.ECB(), None), ('cbc', modes.CBC(IV), IV), ('cfb128', CFB(IV), IV), ('cfb8', CFB8(IV), IV), ('ofb', OFB(IV), IV), ('ctr', modes.CTR(CTR), CTR)]:
        ct = run(algorithms.AES(H(key)), mode, P)
        same(ct[:16], F[name, bits], f'38A {name} {bits}')
        ciphers.append(dict(id=f'SP 800-38A F {name.upper()} AES-{bits}', spec=f'aes-{bits}', algorithm=f'aes-{name}', key=H(key), iv=iv, plaintext=P, ciphertext=ct))
    for name, mode, iv in [('ecb', modes.ECB(), None), ('cbc', modes.CBC(IV), IV)]:
        for n in (0, 1, 15, 16, 33):
            ciphers.append(dict(id=f'PKCS#5 {name.upper()} AES-{bits}, {n} bytes', spec=f'aes-{bits}', algorithm=f'aes-{name}-pkcs5', key=H(key), iv=iv, plaintext=P[:n], ciphertext=run(algorithms.AES(H(key)), mode, pad(P[:n], 16))))

GK = 'feffe9928665731c6d6a8f9467308308'; GP = H('d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39')
GA = H('feedfacedeadbeeffeedfacedeadbeefabaddad2')
IV60 = '9313225df88406e555909c5aff5269aa6a7a9538534f7da1e4c303d2a318a728c3c0c95156809539fcf0e2429a6b525416aedbf5a0de6a57a637b39b'
for n, key, iv, p, a, tag in [
    (1, '00' * 16, '00' * 12, b'', b'', '58e2fccefa7e3061367f1d57a4e7455a'), (2, '00' * 16, '00' * 12, bytes(16), b'', 'ab6e47d42cec13bdf53a67b21257bddf'),
    (4, GK, 'cafebabefacedbaddecaf888', GP, GA, '5bc94fbc3221a5db94fae95ae7121a47'), (5, GK, 'cafebabefacedbad', GP, GA, '3612d2e79e3b0785561be14aaca2fccb'),
    (6, GK, IV60, GP, GA, '619cc5aefffe0bfa462af43c1699d050'), (10, GK + GK[:16], 'cafebabefacedbaddecaf888', GP, GA, '2519498e80f1478f37ba55bd6d27618c'),
    (13, '00' * 32, '00' * 12, b'', b'', '530f8afbc74536b9a963b4f1c4cb738b'), (16, GK * 2, 'cafebabefacedbaddecaf888', GP, GA, '76fc6ece0f4e1768cddf8853bb2d551b'),
    (18, GK * 2, IV60, GP, GA, 'a44a8266ee1c8eb0c8b5d4cf5ae9f19a')]:
    out = AESGCM(H(key)).encrypt(H(iv), p, a)
    same(out[-16:], tag, f'GCM {n}')
    ciphers.append(dict(id=f'GCM specification test case {n}', spec=f'aes-{len(key) * 4}', algorithm='aes-gcm', key=H(key), iv=H(iv), aad=a, plaintext=p, ciphertext=out[:-16], tag=out[-16:],
                        **({} if len(iv) == 24 else dict(parameter='gcm-iv-length'))))
for n in (12, 13, 14, 15, 4, 8):
    out = AESGCM(H(GK)).encrypt(H('cafebabefacedbaddecaf888'), GP, GA)
    ciphers.append(dict(id=f'GCM tag of {n} bytes', spec='aes-128', algorithm='aes-gcm', key=H(GK), iv=H('cafebabefacedbaddecaf888'), aad=GA, plaintext=GP, ciphertext=out[:-16], tag=out[-16:][:n], tagLength=n, parameter='gcm-tag-length'))
LADIES = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it."
ck = bytes(range(32)); civ = H('01000000000000000000004a00000000')
ct = run(algorithms.ChaCha20(ck, civ), None, LADIES); same(ct[:16], '6e2e359a2568f98041ba0728dd0d6981', 'RFC 8439 2.4.2')
ciphers.append(dict(id='RFC 8439 §2.4.2', spec='chacha20', algorithm='chacha20', key=ck, iv=civ, plaintext=LADIES, ciphertext=ct))
n12 = H('000000000000004a00000000'); ct = run(algorithms.ChaCha20(ck, bytes(4) + n12), None, LADIES)
ciphers.append(dict(id='ChaCha20, 96-bit nonce from block 0', spec='chacha20', algorithm='chacha20', key=ck, iv=n12, plaintext=LADIES, ciphertext=ct, parameter='chacha20-nonce'))
n8 = H('0001020304050607'); ct = run(algorithms.ChaCha20(ck, bytes(8) + n8), None, LADIES)
ciphers.append(dict(id='ChaCha20, 64-bit nonce from block 0', spec='chacha20', algorithm='chacha20', key=ck, iv=n8, plaintext=LADIES, ciphertext=ct, parameter='chacha20-nonce'))
pk = bytes(range(0x80, 0xa0)); pn = H('070000004041424344454647'); pa = H('50515253c0c1c2c3c4c5c6c7'); out = ChaCha20Poly1305(pk).encrypt(pn, LADIES, pa)
same(out[-16:], '1ae10b594f09e26a7e902ecbd0600691', 'RFC 8439 2.8.2')
ciphers.append(dict(id='RFC 8439 §2.8.2', spec='chacha20', algorithm='chacha20-poly1305', key=pk, iv=pn, aad=pa, plaintext=LADIES, ciphertext=out[:-16], tag=out[-16:]))
dk = H('0123456789abcdef23456789abcdef01456789abcdef0123'); dp = b'The qufck brown fox jump'; ct = run(TripleDES(dk), modes.ECB(), dp)
same(ct, 'a826fd8ce53b855fcce21c8112256fe668d5c05dd9b6b900', 'SP 800-67 B.1')
ciphers.append(dict(id='SP 800-67 B.1', spec='des3-168', algorithm='des3-ecb', key=dk, plaintext=dp, ciphertext=ct))
div = H('f69f2445df4f9b17')
for spec, k in (('des3-168', dk), ('des3-112', dk[:16])):
    ciphers.append(dict(id=f'{spec} CBC', spec=spec, algorithm='des3-cbc', key=k, iv=div, plaintext=dp, ciphertext=run(TripleDES(k), modes.CBC(div), dp)))
    ciphers.append(dict(id=f'{spec} CBC PKCS#5', spec=spec, algorithm='des3-cbc-pkcs5', key=k, iv=div, plaintext=dp[:13], ciphertext=run(TripleDES(k), modes.CBC(div), pad(dp[:13], 8))))
    ciphers.append(dict(id=f'{spec} ECB PKCS#5', spec=spec, algorithm='des3-ecb-pkcs5', key=k, plaintext=dp, ciphertext=run(TripleDES(k), modes.ECB(), pad(dp, 8))))

# MACs ---------------------------------------------------------------------------------------------------------------
macs = []
PRINTED = {('sha256', 1): 'b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7', ('sha256', 2): '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843',
           ('sha256', 6): '60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54', ('sha224', 1): '896fb1128abbdf196832107cd49df33f47b4b1169912ba4f53684b22',
           ('sha384', 2): 'af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649',
           ('sha512', 2): '164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737',
           ('sha1', 1): 'b617318655057264e28bc0b6fb378c8ef146be00', ('sha1', 2): 'effcdf6ae5eb2fa2d27416d5f184df9c259a7c79'}
for h in HASH:
    for n, k, d in [(1, b'\x0b' * 20, b'Hi There'), (2, b'Jefe', b'what do ya want for nothing?'), (3, b'\xaa' * 20, b'\xdd' * 50), (6, b'\xaa' * 131, b'Test Using Larger Than Block-Size Key - Hash Key First')]:
        m = hm.new(k, d, PY(h)).digest(); same(m, PRINTED.get((h, n)), f'HMAC {h} {n}')
        macs.append(dict(id=f'RFC 4231 test case {n}, {h}' if not h.startswith('sha3') and h != 'sha1' else f'RFC 4231 input {n} with {h}', spec=f'hmac-{h}', algorithm=f'hmac-{h}', key=k, data=d, mac=m,
                         **({'parameter': 'short-hmac-key'} if len(k) < 14 else {})))
C = {(128, 0): 'bb1d6929e95937287fa37d129b756746', (128, 16): '070a16b46b4d4144f79bdd9dd04a287c', (128, 40): 'dfa66747de9ae63030ca32611497c827', (128, 64): '51f0bebf7e3b9d92fc49741779363cfe',
     (192, 0): 'd17ddf46adaacde531cac483de7a9367', (256, 0): '028962f61b7bf89efc6b551f4667d983', (256, 64): 'e1992190549f6ed5696a2c056c315410'}
for bits, key in K.items():
    for n in (0, 1, 15, 16, 17, 40, 64):
        c = cmac.CMAC(algorithms.AES(H(key))); c.update(P[:n]); m = c.finalize(); same(m, C.get((bits, n)), f'CMAC {bits} {n}')
        macs.append(dict(id=f'SP 800-38B App. D AES-{bits}, {n} bytes', spec=f'aes-{bits}', algorithm='aes-cmac', key=H(key), data=P[:n], mac=m))

# Key wrapping -------------------------------------------------------------------------------------------------------
wraps = []
kek = bytes(range(32)); kd = H('00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f')
W = {(16, 16): '1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5', (32, 16): '64e8c3f9ce0f5ba263e9777905818a2a93c8191e7d6e8ae7', (32, 32): '28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21'}
for kl, dl in ((16, 16), (24, 16), (24, 24), (32, 16), (32, 24), (32, 32)):
    w = keywrap.aes_key_wrap(kek[:kl], kd[:dl]); same(w, W.get((kl, dl)), f'KW {kl} {dl}')
    wraps.append(dict(id=f'RFC 3394 §4, {dl * 8}-bit key under AES-{kl * 8}', spec=f'aes-{kl * 8}', algorithm='aes-kw', key=kek[:kl], material=kd[:dl], wrapped=w))
pk = H('5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8')
for d, printed in (('c37b7e6492584340bed12207808941155068f738', '138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a'), ('466f7250617369', 'afbeb0f07dfbf5419200f2ccb50bb24f')):
    w = keywrap.aes_key_wrap_with_padding(pk, H(d)); same(w, printed, 'KWP')
    wraps.append(dict(id=f'RFC 5649 §6, {len(d) // 2} bytes', spec='aes-192', algorithm='aes-kwp', key=pk, material=H(d), wrapped=w))

# Derivation ---------------------------------------------------------------------------------------------------------
derives = []
ikm = b'\x0b' * 22
for n, k, salt, info, length, printed in [(1, ikm, H('000102030405060708090a0b0c'), H('f0f1f2f3f4f5f6f7f8f9'), 42, '3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865'),
                                          (2, bytes(range(0x50)), bytes(range(0x60, 0xb0)), bytes(range(0xb0, 0x100)), 82, 'b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87'),
                                          (3, ikm, b'', b'', 42, '8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8')]:
    for h in ('sha256', 'sha384', 'sha512'):
        o = HKDF(HASH[h], length, salt, info).derive(k); same(o, printed if h == 'sha256' else None, f'HKDF {n}')
        derives.append(dict(id=f'RFC 5869 A.{n} {h}', algorithm=f'hkdf-{h}', key=k, salt=salt, info=info, length=length, output=o))
for h, pw, salt, c, length, printed in [('sha1', b'password', b'salt', 1, 20, '0c60c80f961f0e71f3a9b524af6012062fe037a6'), ('sha1', b'password', b'salt', 4096, 20, '4b007901b765489abead49d926f721d065a429c1'),
                                        ('sha1', b'passwordPASSWORDpassword', b'saltSALTsaltSALTsaltSALTsaltSALTsalt', 4096, 25, '3d2eec4fe41c849b80c8d83662c0e44a8b291a964cf2f07038'),
                                        ('sha256', b'passwd', b'salt', 1, 64, '55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc49ca9cccf179b645991664b39d77ef317c71b845b1e30bd509112041d3a19783'),
                                        ('sha256', b'Password', b'NaCl', 80000, 64, '4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56a1d425a1225833549adb841b51c9b3176a272bdebba1d078478f62b397f33c8d'),
                                        ('sha384', b'password', b'NaCl-and-more', 1000, 48, None), ('sha512', b'password', b'NaCl-and-more', 1000, 64, None)]:
    o = hashlib.pbkdf2_hmac(h, pw, salt, c, length)
    same(o, printed, f'PBKDF2 {h} {c}')
    derives.append(dict(id=f'PBKDF2 {h}, {c} iterations, {length} bytes', algorithm=f'pbkdf2-hmac-{h}', key=pw, salt=salt, iterations=c, length=length, output=o))
kk = bytes(range(0x40, 0x60)); fixed = b'label\x00context' + struct.pack('>I', 80 * 8)
for h in ('sha256', 'sha384', 'sha512'):
    o = KBKDFHMAC(HASH[h], Mode.CounterMode, 80, 4, None, CounterLocation.BeforeFixed, None, None, fixed).derive(kk)
    derives.append(dict(id=f'SP 800-108 §4.1 {h}, fixed input', algorithm=f'sp800-108-counter-hmac-{h}', key=kk, fixedInput=fixed, length=80, output=o))
    derives.append(dict(id=f'SP 800-108 §4.1 {h}, label and context', algorithm=f'sp800-108-counter-hmac-{h}', key=kk, info=b'label\x00context', length=80, output=o))
o = KBKDFCMAC(algorithms.AES, Mode.CounterMode, 80, 4, None, CounterLocation.BeforeFixed, None, None, fixed).derive(kk)
derives.append(dict(id='SP 800-108 §4.1 CMAC, fixed input', spec='aes-256', algorithm='sp800-108-counter-cmac', key=kk, fixedInput=fixed, length=80, output=o))
def mac(d): return hm.new(kk, d, 'sha256').digest()
def feedback(iv):
    out, k = b'', iv
    for i in (1, 2, 3): k = mac(k + struct.pack('>I', i) + fixed); out += k
    return out[:80]
derives.append(dict(id='SP 800-108 §4.2, no IV', algorithm='sp800-108-feedback-hmac-sha256', key=kk, fixedInput=fixed, length=80, output=feedback(b'')))
derives.append(dict(id='SP 800-108 §4.2, IV', algorithm='sp800-108-feedback-hmac-sha256', key=kk, fixedInput=fixed, iv=bytes(range(32)), length=80, output=feedback(bytes(range(32)))))
a, out = fixed, b''
for i in (1, 2, 3): a = mac(a); out += mac(a + struct.pack('>I', i) + fixed)
derives.append(dict(id='SP 800-108 §4.3', algorithm='sp800-108-double-pipeline-hmac-sha256', key=kk, fixedInput=fixed, length=80, output=out[:80]))
derives.append(dict(id='hash-derive of the key', algorithm='hash-derive', key=kk, hash='sha256', length=32, output=hashlib.sha256(kk).digest()))
derives.append(dict(id='hash-derive of key and data', algorithm='hash-derive', key=kk, hash='sha384', data=b'data', length=40, output=hashlib.sha384(kk + b'data').digest()[:40]))
derives.append(dict(id='hmac-derive', algorithm='hmac-derive', key=kk, hash='sha512', data=b'data', length=32, output=hm.new(kk, b'data', 'sha512').digest()[:32]))
derives.append(dict(id='encrypt-derive ECB', spec='aes-128', algorithm='encrypt-derive', key=H(K[128]), cipher='aes-ecb', data=P, length=64, output=run(algorithms.AES(H(K[128])), modes.ECB(), P)))
derives.append(dict(id='encrypt-derive CBC', spec='aes-128', algorithm='encrypt-derive', key=H(K[128]), cipher='aes-cbc', data=P, iv=IV, length=40, output=run(algorithms.AES(H(K[128])), modes.CBC(IV), P)[:40]))
derives.append(dict(id='encrypt-derive 3DES CBC', spec='des3-168', algorithm='encrypt-derive', key=dk, cipher='des3-cbc', data=dp, iv=div, length=24, output=run(TripleDES(dk), modes.CBC(div), dp)))

# Signatures ---------------------------------------------------------------------------------------------------------
signatures = []
EC = [('ec-p256', ec.SECP256R1(), 'C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721'), ('ec-p384', ec.SECP384R1(), '6B9D3DAD2E1B8C1C05B19875B6659F4DE23C3B667BF297BA9AA47740787137D896D5724E4C70A825F872C9EA60D2EDF5'),
      ('ec-p521', ec.SECP521R1(), '00FAD06DAA62BA3B25D2FB40133DA757205DE67F5BB0018FEE8C86E1B68C7E75CAA896EB32F1F47C70855836A6D16FCC1466F6D8FBEC67DB89EC0C08B0E996B83538'),
      ('ec-secp256k1', ec.SECP256K1(), 'C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721')]
RFC6979 = {('ec-p256', 'sha256'): 'EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8'}
for spec, curve, d in EC:
    key = ec.derive_private_key(int(d, 16), curve); size = (curve.key_size + 7) // 8
    for h in HASH:
        der = key.sign(b'sample', ec.ECDSA(HASH[h], deterministic_signing=True)); r, s = decode_dss_signature(der); raw = r.to_bytes(size, 'big') + s.to_bytes(size, 'big')
        same(raw, RFC6979.get((spec, h)), f'RFC 6979 {spec} {h}')
        signatures.append(dict(id=f'RFC 6979 {spec} {h} "sample"', spec=spec, algorithm=f'ecdsa-{h}', privateKey=pkcs8(key), publicKey=spki(key.public_key()), data=b'sample', signature=der, fixed=raw))
for n, seed, msg, printed in [(1, '9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60', '', 'e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b'),
                              (2, '4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb', '72', '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00'),
                              (3, 'c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7', 'af82', '6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a')]:
    key = ed25519.Ed25519PrivateKey.from_private_bytes(H(seed)); s = key.sign(H(msg)); same(s, printed, f'Ed25519 {n}')
    signatures.append(dict(id=f'RFC 8032 §7.1 TEST {n}', spec='ed25519', algorithm='ed25519', privateKey=pkcs8(key), publicKey=spki(key.public_key()), data=H(msg), signature=s, deterministic=True))
for name, seed, msg, start in [('Blank', '6c82a562cb808d10d632be89c8513ebf6c929f34ddfa8c9f63c9960ef6e348a3528c8a3fcc2f044e39a3fc5b94492f8f032e7549a20098f95b', '', '533a37f6bbe457251f023c0d88f976ae'),
                               ('1 octet', 'c4eab05d357007c632f3dbb48489924d552b08fe0c353a0d4a1f00acda2c463afbea67c5e8d2877c5e3bc397a659949ef8021e954e0a12274e', '03', '26b8f91727bd62897af15e41eb43c377')]:
    key = ed448.Ed448PrivateKey.from_private_bytes(H(seed)); s = key.sign(H(msg)); same(s[:16], start, f'Ed448 {name}')
    signatures.append(dict(id=f'RFC 8032 §7.4 {name}', spec='ed448', algorithm='ed448', privateKey=pkcs8(key), publicKey=spki(key.public_key()), data=H(msg), signature=s, deterministic=True))
RSA = {1024: serialization.load_pem_private_key(open(sys.path[0] + '/rsa-1024.pem', 'rb').read(), None), 2048: serialization.load_pem_private_key(open(sys.path[0] + '/rsa-2048.pem', 'rb').read(), None),
       3072: serialization.load_pem_private_key(open(sys.path[0] + '/rsa-3072.pem', 'rb').read(), None), 4096: serialization.load_pem_private_key(open(sys.path[0] + '/rsa-4096.pem', 'rb').read(), None)}
pss_path = sys.path[0] + '/randomised.json'
# PSS and OAEP are randomised: the first run's results are kept beside this script so that the table stays the same.
kept = json.load(open(pss_path)) if os.path.exists(pss_path) else {}
def keep(name, make):
    if name not in kept: kept[name] = make().hex()
    return H(kept[name])
for bits in (1024, 2048, 3072, 4096):
    key = RSA[bits]; pub = spki(key.public_key()); priv = pkcs8(key)
    for h in HASH if bits == 2048 else ('sha256', 'sha384'):
        signatures.append(dict(id=f'RSA-{bits} PKCS#1 v1.5 {h}', spec=f'rsa-{bits}', algorithm=f'rsa-pkcs1-{h}', privateKey=priv, publicKey=pub, data=b'sample', signature=key.sign(b'sample', padding.PKCS1v15(), HASH[h]), deterministic=True))
        if bits == 2048:
            m = HASH[h]; n = m.digest_size
            signatures.append(dict(id=f'RSA-{bits} PSS {h}', spec=f'rsa-{bits}', algorithm=f'rsa-pss-{h}', privateKey=priv, publicKey=pub, data=b'sample', signature=keep(f'pss {bits} {h}', lambda: key.sign(b'sample', padding.PSS(padding.MGF1(m), n), m))))
key = RSA[2048]; pub = spki(key.public_key()); priv = pkcs8(key)
for salt, parameter in ((0, 'pss-salt-zero'), (20, 'pss-salt-length'), (100, 'pss-salt-length')):
    signatures.append(dict(id=f'RSA-2048 PSS sha256, salt of {salt}', spec='rsa-2048', algorithm='rsa-pss-sha256', privateKey=priv, publicKey=pub, data=b'sample', saltLength=salt, parameter=parameter, signature=keep(f'pss salt {salt}', lambda: key.sign(b'sample', padding.PSS(padding.MGF1(hashes.SHA256()), salt), hashes.SHA256()))))
signatures.append(dict(id='RSA-2048 PSS sha256, MGF1 sha1', spec='rsa-2048', algorithm='rsa-pss-sha256', privateKey=priv, publicKey=pub, data=b'sample', mgf1Hash='sha1', parameter='pss-mgf1-hash', signature=keep('pss mgf1', lambda: key.sign(b'sample', padding.PSS(padding.MGF1(hashes.SHA1()), 32), hashes.SHA256()))))

decryptions = []
for name, h, mgf, label, parameter in [('rsa-oaep-sha1', 'sha1', 'sha1', None, None), ('rsa-oaep-sha224', 'sha224', 'sha224', None, None), ('rsa-oaep-sha256', 'sha256', 'sha256', None, None), ('rsa-oaep-sha384', 'sha384', 'sha384', None, None), ('rsa-oaep-sha512', 'sha512', 'sha512', None, None),
                                       ('rsa-oaep-sha256', 'sha256', 'sha1', None, 'oaep-mgf1-hash'), ('rsa-oaep-sha512', 'sha512', 'sha1', b'L', 'oaep-mgf1-hash'), ('rsa-oaep-sha1', 'sha1', 'sha256', b'', 'oaep-mgf1-hash'), ('rsa-oaep-sha256', 'sha256', 'sha256', b'a label', 'oaep-label')]:
    c = keep(f'oaep {h} {mgf} {label}', lambda: key.public_key().encrypt(b'secret message', padding.OAEP(padding.MGF1(HASH[mgf]), HASH[h], label)))
    decryptions.append(dict(id=f'OAEP {h}, MGF1 {mgf}, label {label!r}', spec='rsa-2048', algorithm=name, privateKey=priv, plaintext=b'secret message', ciphertext=c, **({'mgf1Hash': mgf} if mgf != h else {}), **({'label': label} if label else {}), **({'parameter': parameter} if parameter else {})))
decryptions.append(dict(id='PKCS#1 v1.5', spec='rsa-2048', algorithm='rsa-pkcs1', privateKey=priv, plaintext=b'secret message', ciphertext=keep('pkcs1', lambda: key.public_key().encrypt(b'secret message', padding.PKCS1v15()))))
json.dump(kept, open(pss_path, 'w'), indent=1)

# Agreement ----------------------------------------------------------------------------------------------------------
agreements = []
def agreement(id, spec, key, peer, printed=None):
    z = key.exchange(ec.ECDH(), peer) if spec.startswith('ec-') else key.exchange(peer)
    same(z, printed, id)
    agreements.append(dict(id=id, spec=spec, algorithm='ecdh' if spec.startswith('ec-') else 'xdh', privateKey=pkcs8(key), peerPublicKey=spki(peer), secret=z))
agreement('RFC 7748 §6.1', 'x25519', x25519.X25519PrivateKey.from_private_bytes(H('5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb')),
          x25519.X25519PublicKey.from_public_bytes(H('8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a')), '4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742')
agreement('RFC 7748 §6.2', 'x448', x448.X448PrivateKey.from_private_bytes(H('1c306a7ac2a0e2e0990b294470cba339e6453772b075811d8fad0d1d6927c120bb5ee8972b0d3e21374c9c921b09d1b0366f10b65173992d')),
          x448.X448PublicKey.from_public_bytes(H('9b08f7cc31b7e3e67d22d5aea121074a273bd2b83de09c63faa73d2c22c5d9bbc836647241d953d40c5b12da88120d53177f80e532c41fa0')), '07fff4181ac6cc95ec1c16a94a0f74d12da232ce40a77552281d282bb60c0b56fd2464c335543936521c24403085d59a449a5037514a879d')
agreement('NIST CAVP KAS ECC CDH P-256, count 0', 'ec-p256', ec.derive_private_key(0x7d7dc5f71eb29ddaf80d6214632eeae03d9058af1fb6d22ed80badb62bc1a534, ec.SECP256R1()),
          ec.EllipticCurvePublicNumbers(0x700c48f77f56584c5cc632ca65640db91b6bacce3a4df6b42ce7cc838833d287, 0xdb71e509e3fd9b060ddb20ba5c51dcc5948d46fbf640dfe0441782cab85fa4ac, ec.SECP256R1()).public_key(), '46fc62106420ff012e54a434fbdd2d25ccc5852060561e68040dd7778997bd7b')
for spec, curve, d in EC[1:]:
    agreement(f'{spec}, RFC 6979 key with the key of scalar 3', spec, ec.derive_private_key(int(d, 16), curve), ec.derive_private_key(3, curve).public_key())

digests = [dict(id=f'{h} "abc"', hash=h, data=b'abc', digest=hashlib.new(h.replace('sha3-', 'sha3_').replace('sha512-', 'sha512_'), b'abc').digest()) for h in ['md5', *HASH, 'sha512-224', 'sha512-256']]
same(digests[3]['digest'], 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad', 'SHA-256 abc')

# Output -------------------------------------------------------------------------------------------------------------
def ts(v):
    if isinstance(v, bytes): return f"'{v.hex()}'"
    if isinstance(v, bool): return 'true' if v else 'false'
    if isinstance(v, int): return str(v)
    q = v.replace('\\', '\\\\').replace("'", "\\'")
    return f"'{q}'"
# Keys that several vectors share are written once.
SHARED, seen = {}, {}
for v in signatures + decryptions:
    for f in ('privateKey', 'publicKey'):
        if f in v:
            k = 'KEY_' + v['spec'].upper().replace('-', '_') + ('_PRIVATE' if f == 'privateKey' else '_PUBLIC')
            seen.setdefault(k, set()).add(v[f])
SHARED = {next(iter(b)): k for k, b in seen.items() if len(b) == 1}
def field(v): return SHARED[v] if isinstance(v, bytes) and v in SHARED else ts(v)
def table(name, type_, rows):
    print(f'export const {name}: readonly {type_}[] = [')
    for r in rows: print('  { ' + ', '.join(f'{k}: {field(v)}' for k, v in r.items() if v is not None) + ' },')
    print('];\n')
print("""// Written by rot-spi/test/vectors/make-vectors.py; change it there.
import type { Algorithm, HashName, KeySpec } from '../vocabulary/index.js';

/** Byte strings are hex. `parameter` names an optional parameter that a back end may lack (`parameter:<name>`). */
interface Vector {
  readonly id: string;
  readonly parameter?: string;
}
export interface CipherVector extends Vector {
  readonly spec: KeySpec;
  readonly algorithm: Algorithm;
  readonly key: string;
  readonly iv?: string;
  readonly aad?: string;
  readonly plaintext: string;
  readonly ciphertext: string;
  readonly tag?: string;
  readonly tagLength?: number;
}
export interface MacVector extends Vector {
  readonly spec: KeySpec;
  readonly algorithm: Algorithm;
  readonly key: string;
  readonly data: string;
  readonly mac: string;
}
export interface WrapVector extends Vector {
  readonly spec: KeySpec;
  readonly algorithm: Algorithm;
  readonly key: string;
  readonly material: string;
  readonly wrapped: string;
}
export interface DeriveVector extends Vector {
  /** Default `secret`. */
  readonly spec?: KeySpec;
  readonly algorithm: Algorithm;
  readonly key: string;
  readonly salt?: string;
  readonly info?: string;
  readonly iterations?: number;
  readonly fixedInput?: string;
  readonly data?: string;
  readonly iv?: string;
  readonly hash?: HashName;
  readonly cipher?: Algorithm;
  readonly length: number;
  readonly output: string;
}
/** `deterministic`: signing gives exactly this. `fixed`: the same ECDSA signature as r‖s. */
export interface SignatureVector extends Vector {
  readonly spec: KeySpec;
  readonly algorithm: Algorithm;
  readonly privateKey: string;
  readonly publicKey: string;
  readonly data: string;
  readonly signature: string;
  readonly fixed?: string;
  readonly saltLength?: number;
  readonly mgf1Hash?: HashName;
  readonly deterministic?: boolean;
}
export interface DecryptionVector extends Vector {
  readonly spec: KeySpec;
  readonly algorithm: Algorithm;
  readonly privateKey: string;
  readonly plaintext: string;
  readonly ciphertext: string;
  readonly mgf1Hash?: HashName;
  readonly label?: string;
}
export interface AgreementVector extends Vector {
  readonly spec: KeySpec;
  readonly algorithm: Algorithm;
  readonly privateKey: string;
  readonly peerPublicKey: string;
  readonly secret: string;
}
export interface DigestVector extends Vector {
  readonly hash: HashName;
  readonly data: string;
  readonly digest: string;
}
""")
for b, k in SHARED.items(): print(f"const {k} = '{b.hex()}';")
print()
table('CIPHER_VECTORS', 'CipherVector', ciphers); table('MAC_VECTORS', 'MacVector', macs); table('WRAP_VECTORS', 'WrapVector', wraps); table('DERIVE_VECTORS', 'DeriveVector', derives)
table('SIGNATURE_VECTORS', 'SignatureVector', signatures); table('DECRYPTION_VECTORS', 'DecryptionVector', decryptions); table('AGREEMENT_VECTORS', 'AgreementVector', agreements); table('DIGEST_VECTORS', 'DigestVector', digests)
print('/** Public test keys, PKCS#8 DER: known to everyone, for imports of sizes that are not generated. */')
print('export const TEST_RSA_KEYS: Readonly<Record<string, string>> = {')
for b in RSA: print(f"  'rsa-{b}': {field(pkcs8(RSA[b]))},")
print('};')

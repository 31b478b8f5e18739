/* Drives the stock p11-kit client as a threaded, forking application does. Usage: probe MODULE THREADS ROUNDS */
#include <dlfcn.h>
#include <p11-kit/pkcs11.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static CK_FUNCTION_LIST *f;
static CK_SLOT_ID slot;
static CK_OBJECT_HANDLE public_key, private_key;
static int rounds;

#define MUST(call) do { CK_RV rv = (call); if (rv != CKR_OK) { printf("%s: 0x%lx\n", #call, rv); fflush(stdout); _exit(1); } } while (0)

static void make_pair(CK_SESSION_HANDLE s) {
  CK_MECHANISM m = {CKM_EC_KEY_PAIR_GEN, NULL, 0};
  CK_BYTE p256[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
  CK_BBOOL yes = CK_TRUE;
  CK_ATTRIBUTE pub[] = {{CKA_EC_PARAMS, p256, sizeof p256}, {CKA_VERIFY, &yes, 1}};
  CK_ATTRIBUTE priv[] = {{CKA_SIGN, &yes, 1}};
  MUST(f->C_GenerateKeyPair(s, &m, pub, 2, priv, 1, &public_key, &private_key));
}

static void sign_and_verify(CK_SESSION_HANDLE s, int seed) {
  CK_MECHANISM m = {CKM_ECDSA, NULL, 0};
  CK_BYTE digest[32], signature[64];
  CK_ULONG length = sizeof signature;
  memset(digest, seed, sizeof digest);
  digest[0] = 1;
  MUST(f->C_SignInit(s, &m, private_key));
  MUST(f->C_Sign(s, digest, sizeof digest, signature, &length));
  MUST(f->C_VerifyInit(s, &m, public_key));
  MUST(f->C_Verify(s, digest, sizeof digest, signature, length));
}

static void *thread(void *arg) {
  CK_SESSION_HANDLE s;
  CK_SESSION_INFO info;
  CK_BYTE bytes[16];
  MUST(f->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &s));
  for (int n = 0; n < rounds; n += 1) {
    sign_and_verify(s, (int)(long)arg * 100 + n);
    MUST(f->C_GetSessionInfo(s, &info));
    if (info.slotID != slot) _exit(3);
    MUST(f->C_GenerateRandom(s, bytes, sizeof bytes));
  }
  MUST(f->C_CloseSession(s));
  return NULL;
}

static CK_SESSION_HANDLE start(void) {
  CK_C_INITIALIZE_ARGS args;
  CK_ULONG count = 1;
  CK_SESSION_HANDLE s;
  memset(&args, 0, sizeof args);
  args.flags = CKF_OS_LOCKING_OK;
  MUST(f->C_Initialize(&args));
  MUST(f->C_GetSlotList(CK_TRUE, &slot, &count));
  MUST(f->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &s));
  return s;
}

int main(int argc, char **argv) {
  if (argc != 4) return 2;
  void *module = dlopen(argv[1], RTLD_NOW);
  CK_RV (*list)(CK_FUNCTION_LIST_PTR_PTR) = dlsym(module, "C_GetFunctionList");
  list(&f);
  int threads = atoi(argv[2]);
  rounds = atoi(argv[3]);
  CK_SESSION_HANDLE s = start();
  make_pair(s);
  pthread_t ids[64];
  for (long n = 0; n < threads; n += 1) pthread_create(&ids[n], NULL, thread, (void *)n);
  for (int n = 0; n < threads; n += 1) pthread_join(ids[n], NULL);
  puts("threads ok");
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    CK_SESSION_INFO info;
    CK_RV rv = f->C_GetSessionInfo(s, &info);
    if (rv != CKR_CRYPTOKI_NOT_INITIALIZED) _exit(4);
    CK_SESSION_HANDLE own = start();
    make_pair(own);
    sign_and_verify(own, 7);
    MUST(f->C_Finalize(NULL));
    puts("child ok");
    fflush(stdout);
    _exit(0);
  }
  int status;
  waitpid(child, &status, 0);
  if (status != 0) return 5;
  sign_and_verify(s, 9);
  puts("parent ok");
  MUST(f->C_Finalize(NULL));
  return 0;
}

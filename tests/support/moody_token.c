/* A PKCS#11 driver with the moods of real hardware: SoftHSM behind it, and faults when the test asks for them.

   MOODY_BEHIND is the driver that does the work.  It locks the PIN after three wrong ones, as devices do and SoftHSM
   does not.  While the file MOODY_AWAY exists, the device is unplugged: every call that needs it answers
   CKR_DEVICE_REMOVED.  While the file MOODY_HANGS exists, no call that would sign comes back.  A PKCS#11 function list is a version and 68 pointers in a fixed order (PKCS#11 2.40, 3.7). */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef unsigned long (*call)();
enum { INITIALIZE = 0, OPEN_SESSION = 12, LOGIN = 18, SIGN_INIT = 42, FUNCTIONS = 68 };
enum { OK = 0, DEVICE_REMOVED = 0x32, PIN_INCORRECT = 0xA0, PIN_LOCKED = 0xA4 };
struct list { unsigned char version[2]; call at[FUNCTIONS]; };

static struct list mine, *behind;
static int wrong;

static int away(void) { const char *path = getenv("MOODY_AWAY"); return path && access(path, F_OK) == 0; }

static void hang(void) {
  const char *path = getenv("MOODY_HANGS");
  while (path && access(path, F_OK) == 0) usleep(10000);
}

static unsigned long initialize(void *arguments) {
  wrong = 0; /* other devices than before, as far as tests are concerned */
  return behind->at[INITIALIZE](arguments);
}
static unsigned long login(unsigned long session, unsigned long user, unsigned char *pin, unsigned long length) {
  if (away()) return DEVICE_REMOVED;
  if (wrong >= 3) return PIN_LOCKED;
  unsigned long said = behind->at[LOGIN](session, user, pin, length);
  if (said == PIN_INCORRECT) wrong++;
  return said;
}
static unsigned long open_session(unsigned long slot, unsigned long flags, void *a, void *b, unsigned long *out) {
  return away() ? DEVICE_REMOVED : behind->at[OPEN_SESSION](slot, flags, a, b, out);
}
static unsigned long sign_init(unsigned long session, void *mechanism, unsigned long key) {
  hang();
  return away() ? DEVICE_REMOVED : behind->at[SIGN_INIT](session, mechanism, key);
}

unsigned long C_GetFunctionList(struct list **out) {
  if (!behind) {
    void *library = dlopen(getenv("MOODY_BEHIND"), RTLD_NOW);
    call list = library ? (call)dlsym(library, "C_GetFunctionList") : 0;
    if (!list || list(&behind) != OK) return 5; /* CKR_GENERAL_ERROR */
    memcpy(&mine, behind, sizeof mine);
    mine.at[INITIALIZE] = (call)initialize;
    mine.at[LOGIN] = (call)login;
    mine.at[OPEN_SESSION] = (call)open_session;
    mine.at[SIGN_INIT] = (call)sign_init;
  }
  *out = &mine;
  return OK;
}

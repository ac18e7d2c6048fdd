// X/Open's character width (POSIX.1-2008, wcwidth), which glibc declares only under a feature macro
// that Swift's Glibc module is built without.
#include <wchar.h>

extern int wcwidth(wchar_t character);

// SHA-2 by states in memory of ours, which wipes them, is deprecated in favour of EVP, which
// allocates each state; both stay in libcrypto 3.
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/evp.h>
#include <openssl/sha.h>

// X-Wing as BoringSSL has it (its include/openssl/xwing.h), under the names that swift-crypto gives
// to the BoringSSL it contains and that this program links anyway. swift-crypto's own X-Wing classes
// free private keys without overwriting them; called this way, the key lies in memory of ours.
#include <stddef.h>
#include <stdint.h>

// A CBS: what is left to be parsed.
struct curtain_octets {
    const uint8_t *data;
    size_t count;
};

int CCryptoBoringSSL_XWING_parse_private_key(void *private_key, struct curtain_octets *seed);
int CCryptoBoringSSL_XWING_public_from_private(uint8_t *public_key, const void *private_key);
int CCryptoBoringSSL_XWING_encap(uint8_t *output, uint8_t *secret, const uint8_t *public_key);
int CCryptoBoringSSL_XWING_decap(uint8_t *secret, const uint8_t *output, const void *private_key);

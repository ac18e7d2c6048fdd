#include <uv.h>
#include <libwebsockets.h>

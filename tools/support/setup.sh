# Sourced by every tool: goes to the package's top folder, installs the Debian packages that are
# missing, and offers a few words of output. Safe to run twice.

cd "$(dirname "${BASH_SOURCE[0]}")/../.."

say() { printf '%s\n' "$*" >&2; }
stop() { say "$(basename "$0"): $*"; exit 1; }
# usage WORDS: for whoever asked for something else; as in sysexits.h
usage() { say "usage: tools/$*"; exit 64; }

packages=(
    libsodium-dev libsqlite3-dev libwebsockets-dev libwebsockets-evlib-uv libuv1-dev libssl-dev
    pkg-config
)

install_packages() {
    local missing=() package
    for package in "$@"; do
        dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed \
            || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return
    say "installing ${missing[*]}"
    local as_root=()
    [ "$(id -u)" -eq 0 ] || as_root=(sudo)
    "${as_root[@]}" apt-get update -qq || stop "apt-get update failed; check the network"
    DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq \
        --no-install-recommends "${missing[@]}" >/dev/null \
        || stop "apt-get could not install ${missing[*]}"
}

command -v swift >/dev/null || stop "Swift 6.2 or later is needed: https://swift.org/install"
install_packages "${packages[@]}"

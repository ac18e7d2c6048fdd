# Sourced by tools/demo and tools/bench: the programs, a temporary stage, and the people on it.

build_programs() { # [CONFIGURATION]
    local configuration="${1:-debug}" product
    say "building (the first time takes a few minutes)"
    for product in curtain curtain-relay curtain-clinic; do
        swift build --configuration "$configuration" --product "$product" --quiet 2>"${TMPDIR:-/tmp}/build.$$" \
            || { cat "${TMPDIR:-/tmp}/build.$$" >&2; stop "the build failed"; }
        rm -f "${TMPDIR:-/tmp}/build.$$"
    done
    programs="$(swift build --configuration "$configuration" --show-bin-path)"
}

set_stage() {
    stage="$(mktemp -d "${TMPDIR:-/tmp}/curtain-stage.XXXXXX")"
    relay_pid=""
    port=0
    SECONDS=0
    trap 'strike_stage' EXIT
    # An ended script must not leave its relay behind.
    trap 'exit 130' INT TERM HUP
    local who
    for who in clinic doctor patient; do
        (umask 077 && printf 'passphrase of the %s\n' "$who" >"$stage/$who.pass")
    done
}

strike_stage() {
    [ -z "$relay_pid" ] || { kill -9 "$relay_pid" && wait "$relay_pid"; } 2>/dev/null || true
    rm -rf "$stage"
}

# ---- telling ----

if [ -t 1 ] && [ -z "${NO_COLOR-}" ]; then
    bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m'
else
    bold="" dim="" green="" red="" plain=""
fi

chapter() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
ok() { printf '  %s✓%s %s\n' "$green" "$plain" "$*"; }
fail() {
    printf '  %s✗ %s%s\n' "$red" "$*" "$plain" >&2
    [ ! -s "$stage/relay.err" ] || { say "the relay's last words:"; tail -5 "$stage/relay.err" >&2; }
    exit 1
}
tell() { printf '  %s%s%s\n' "$dim" "$*" "$plain"; }

# Runs a command of a person and shows what it prints; it must succeed.
show() {
    tell "$ $(words "$@")"
    "$@" >"$stage/shown" 2>&1 </dev/null || {
        local status=$?
        cat "$stage/shown" >&2
        fail "$(words "$@"): exit status $status"
    }
    sed 's/^/    /' "$stage/shown"
}

# Runs a command whose exit status must be the one given.
expect() {
    local wanted="$1" status=0
    shift
    "$@" >"$stage/shown" 2>&1 </dev/null || status=$?
    if [ "$status" != "$wanted" ]; then
        cat "$stage/shown" >&2
        fail "$(words "$@"): exit status $status, expected $wanted"
    fi
    if [ "$wanted" = 0 ]; then tell "$ $(words "$@")"; else tell "$ $(words "$@")   → exits with $wanted"; fi
}

words() { printf '%s' "$*" | sed "s|$stage/||g"; }

# The text of a member of the first JSON object on standard input.
member() { sed -nE "1,\$s/.*\"$1\":\"([^\"]*)\".*/\\1/p" | head -1; }

# ---- people ----

doctor() { as doctor "$@"; }
patient() { as patient "$@"; }
as() {
    local who="$1"
    shift
    CURTAIN_HOME="$stage/$who" CURTAIN_PASSPHRASE_FILE="$stage/$who.pass" \
        timeout 120 "$programs/curtain" "$@"
}
clinic() {
    CURTAIN_PASSPHRASE_FILE="$stage/clinic.pass" \
        timeout 120 "$programs/curtain-clinic" "$@" --home "$stage/clinic"
}

open_clinic() {
    clinic init --name "Clinic on the Hill" >/dev/null || fail "the clinic could not be made"
    clinic root --out "$stage/root.pem" >/dev/null
    relay_key="$("$programs/curtain-relay" identity --data "$stage/relay")"
    ok "the clinic has its root, the relay its identity"
}

# invitation ROLE NAME [OPTION...]: a curtain: URI on standard output
invitation() {
    local role="$1" name="$2"
    shift 2
    clinic invite --relay "ws://127.0.0.1:$port" --relay-key "$relay_key" --role "$role" \
        --name "$name" "$@" \
        | grep -oE 'curtain:[A-Za-z0-9_-]+' | head -1
}

join_doctor() {
    invitation doctor "Dr. Ada Weiss" | doctor join - >/dev/null || fail "the doctor could not join"
    expect 0 doctor certificate request --out "$stage/doctor.csr"
    clinic certify "$stage/doctor.csr" --name "Dr. Ada Weiss" --licence DE-4711 \
        --specialty "General practice" --out "$stage/doctor.pem" >/dev/null \
        || fail "the clinic could not certify the doctor"
    expect 0 doctor certificate import "$stage/doctor.pem"
    expect 0 doctor card --out "$stage/doctor.card"
    ok "the doctor has joined, certified"
}

join_patient() {
    invitation patient "Jonas Feld" --born 1987-05-04 --reference P-0815 | patient join - >/dev/null || fail "the patient could not join"
    ok "the patient has joined, vouched for"
}

# ---- the relay ----

start_relay() {
    : >"$stage/relay.out"
    "$programs/curtain-relay" serve --data "$stage/relay" --clinic-root "$stage/root.pem" \
        --listen "127.0.0.1:$port" --metrics-listen 127.0.0.1:0 \
        >"$stage/relay.out" 2>>"$stage/relay.err" &
    relay_pid=$!
    local tries
    for tries in $(seq 300); do
        if grep -qoE '127\.0\.0\.1:[0-9]+' "$stage/relay.out"; then
            port="$(grep -oE '127\.0\.0\.1:[0-9]+' "$stage/relay.out" | head -1 | cut -d: -f2)"
            ok "the relay listens on 127.0.0.1:$port"
            return
        fi
        kill -0 "$relay_pid" 2>/dev/null || fail "the relay ended"
        sleep 0.1
    done
    fail "the relay is not ready after 30 s"
}

kill_relay() {
    kill -9 "$relay_pid"
    wait "$relay_pid" 2>/dev/null || true
    relay_pid=""
    ok "the relay is dead"
}

stop_relay() {
    local status=0
    kill -TERM "$relay_pid"
    wait "$relay_pid" || status=$?
    relay_pid=""
    [ "$status" = 0 ] || fail "the relay ended with status $status, expected 0"
}

# ---- looking at the disk ----

# no_trace FOLDER TEXT...: no file below it holds any of the texts
no_trace() {
    local folder="$stage/$1" text files
    shift
    files="$(find "$folder" -type f | wc -l)"
    [ "$files" -gt 0 ] || fail "there is nothing to search in $folder"
    for text in "$@"; do
        if grep -rlaF -e "$text" "$folder" >"$stage/shown"; then
            cat "$stage/shown" >&2
            fail "“$text” is on the disk"
        fi
    done
    ok "0 hits of $(printf '“%s” ' "$@")in $files files of $(basename "$folder")"
}

# ---- the prescription ----

change_one_character() {
    local text other=A
    text="$(cat "$1")"
    [ "${text:400:1}" != A ] || other=B
    printf '%s' "${text:0:400}$other${text:401}"
}

# The chain that the prescription carries, checked by openssl against the clinic's root.
verify_with_openssl() {
    if ! command -v openssl >/dev/null; then
        tell "openssl is not there: its check of the chain is skipped"
        return
    fi
    local header certificate number=0
    header="$(cut -d. -f1 "$1" | base64url)"
    for certificate in $(printf '%s' "$header" | sed -E 's/.*"x5c":\[([^]]*)\].*/\1/' | tr -d '"\\' | tr ',' ' '); do
        printf -- '-----BEGIN CERTIFICATE-----\n%s\n-----END CERTIFICATE-----\n' \
            "$(printf '%s' "$certificate" | fold -w 64)" >"$stage/chain.$number.pem"
        number=$((number + 1))
    done
    [ "$number" -gt 0 ] || fail "the prescription carries no certificate"
    local intermediates=()
    local index
    for index in $(seq 1 $((number - 1))); do
        intermediates+=(-untrusted "$stage/chain.$index.pem")
    done
    openssl verify -CAfile "$stage/root.pem" "${intermediates[@]}" "$stage/chain.0.pem" \
        >"$stage/shown" 2>&1 || { cat "$stage/shown" >&2; fail "openssl refuses the chain"; }

    # And the signature itself: Ed25519 over the first two parts.
    openssl x509 -in "$stage/chain.0.pem" -noout -pubkey >"$stage/key.pem"
    tr -d '\n' <"$1" | sed -E 's/\.[^.]*$//' | tr -d '\n' >"$stage/signed"
    tr -d '\n' <"$1" | sed -E 's/.*\.//' | base64url >"$stage/signature"
    openssl pkeyutl -verify -pubin -inkey "$stage/key.pem" -rawin -in "$stage/signed" \
        -sigfile "$stage/signature" >"$stage/shown" 2>&1 \
        || { cat "$stage/shown" >&2; fail "openssl refuses the signature"; }
    ok "openssl verifies chain and signature too"
}

# Decodes base64url.
base64url() {
    local text
    text="$(tr -d '\n' | tr '_-' '/+')"
    while [ $((${#text} % 4)) -ne 0 ]; do text="$text="; done
    printf '%s' "$text" | base64 -d
}

# Sourced by tools/demo --interactive: doctor and patient beside each other in tmux, with the relay's
# log in a second window. Everything ends with the tmux session.

install_packages tmux

chapter "The patient asks for a consultation; the doctor accepts"
patient request "$stage/doctor.card" --at +1m --minutes 60 \
    --reason "a cough that stays" --json >"$stage/out"
id="$(member id <"$stage/out")"
expect 0 doctor sync
expect 0 doctor accept "$id"
expect 0 patient sync

# seat WHO: the command line of a pane in which WHO chats and then has a shell
seat() {
    printf 'env CURTAIN_HOME=%q CURTAIN_PASSPHRASE_FILE=%q PATH=%q PS1=%q bash --norc -c %q' \
        "$stage/$1" "$stage/$1.pass" "$programs:$PATH" "$1$ " \
        "echo 'You are the $1. /help shows what the chat knows; after it this is a shell: try curtain --help'; curtain chat $id; exec bash --norc"
}

session="curtain-$$"
tmux new-session -d -s "$session" -n consultation -x 160 -y 40 "$(seat doctor)"
tmux split-window -h -t "$session:consultation" "$(seat patient)"
tmux new-window -d -t "$session" -n relay "tail -F '$stage/relay.err' '$stage/relay.out'"
tmux set-option -t "$session" mouse on >/dev/null

chapter "Doctor (left) and patient (right) are in the tmux session $session"
tell "change sides with Ctrl-b and an arrow key; leave with Ctrl-b, then :kill-session"
if [ -t 0 ] && [ -t 1 ]; then
    TMUX='' tmux attach-session -t "$session" || true
else
    tell "there is no terminal here; from one, attach with: tmux attach -t $session"
fi
# The relay stays as long as somebody may talk.
while tmux has-session -t "$session" 2>/dev/null; do sleep 1; done
say "the session is over; relay and folder are removed"

# Keeps one directory and at most one program for the process at the other end of the pipe, and outlives neither.
#
# usage: sh -c "$(cat keeper.sh)" keeper DIRECTORY SIGNAL
#
# Each line of standard input is a command, one of the functions below with quoted words; each answers with one line. When
# the pipe ends, because the other side closed it or was killed, the program gets SIGNAL and the directory is removed.

directory=$1
last_signal=$2
child=

# Runs a program to its end.
run() {
  "$@" </dev/null >&2
  echo "ended $?"
}

# Starts the program that is kept. The inner shell answers when our traps are no longer its own: a signal that came before
# would be lost.
start() {
  sh -c 'echo "started $$"; exec "$@" >&2' sh "$@" </dev/null &
  child=$!
}

# `jobs` makes the shell notice a child that has ended; without it, the dead child could still be signalled.
alive() {
  jobs >/dev/null 2>&1
  [ -n "$child" ] && kill -0 "$child" 2>/dev/null
}

state() {
  if alive; then echo alive; else echo gone; fi
}

signal() {
  if alive && kill -s "$1" "$child"; then echo signalled; else echo gone; fi
}

finish() {
  trap '' EXIT HUP INT TERM
  if alive; then
    kill -s "$last_signal" "$child"
    wait "$child" 2>/dev/null
  fi
  rm -rf "$directory"
  exit 0
}

trap finish EXIT HUP INT TERM
# Nobody reads an answer any more: go on to the end of the pipe, and finish. Not ignored, or programs would inherit that.
trap : PIPE
while IFS= read -r line; do
  eval "$line"
done

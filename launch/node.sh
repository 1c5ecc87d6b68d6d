#!/usr/bin/env bash
# Pretrains on this machine, on all its devices, and starts a run again that ended early.
set -euo pipefail

usage() {
    cat <<'TEXT'
Usage: launch/node.sh [options] -- PRETRAIN_ARGUMENTS...

Runs `electra-jax pretrain PRETRAIN_ARGUMENTS` on every device of this machine. A run that fails (a device
fell off, the process was killed) is started again and resumes; one that is done (0), whose input is
wrong (2), or that SIGTERM made save and stop (143) is not. SIGTERM and Ctrl-C reach the run.

Options:
  --restarts=N        how often at most                      (default: 10)
  --pause=SECONDS     before each restart                    (default: 10)
  --venv=DIR          the environment                        (default: .venv of this checkout)
  --dry_run           print the command and run nothing
  --help              this text

Example, in the background with a log, on eight GPUs:
  nohup launch/node.sh -- --config=configs/pretrain.py:base --workdir=runs/base \
    --config.data.path=rows/ --config.train.dtype=bfloat16 >runs/base.log 2>&1 &
TEXT
}

fail() {
    printf 'node: %s\n' "$1" >&2
    exit 2
}

restarts=10
pause=10
venv="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/.venv"
dry_run=false
arguments=()

while (($#)); do
    case "$1" in
        --restarts=?*) restarts="${1#*=}" ;;
        --pause=?*) pause="${1#*=}" ;;
        --venv=?*) venv="${1#*=}" ;;
        --dry_run) dry_run=true ;;
        --help | -h)
            usage
            exit 0
            ;;
        --)
            shift
            arguments=("$@")
            break
            ;;
        *) fail "unknown option $1; what pretrain gets comes after -- (see --help)" ;;
    esac
    shift
done

((${#arguments[@]})) || fail "after -- say what to pretrain: -- --config=… --workdir=… (see --help)"
for number in "$restarts" "$pause"; do
    [[ "$number" =~ ^[0-9]+$ ]] || fail "not a number: $number"
done

command=("$venv/bin/electra-jax" pretrain "${arguments[@]}")
printf '+'
printf ' %q' "${command[@]}"
printf '\n'
if $dry_run; then
    exit 0
fi

run=
stopping=false
stop() {
    stopping=true
    [[ -z "$run" ]] || kill -TERM "$run" 2>/dev/null || true
}
trap stop TERM INT

for ((attempt = 0; ; attempt++)); do
    "${command[@]}" &
    run=$!
    code=0
    wait "$run" || code=$?
    while kill -0 "$run" 2>/dev/null; do # the wait was interrupted by a signal
        code=0
        wait "$run" || code=$?
    done
    if $stopping || ((code == 0 || code == 2 || code == 143 || attempt >= restarts)); then
        exit "$code"
    fi
    printf 'node: the run ended with %s; restart %s of %s\n' "$code" "$((attempt + 1))" "$restarts" >&2
    sleep "$pause" &
    wait $! || true
done

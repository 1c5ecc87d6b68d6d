#!/usr/bin/env bash
# From a blank machine to a pretrained small ELECTRA, from your own text files.
set -euo pipefail

usage() {
    cat <<'TEXT'
Usage: launch/speedrun.sh [options] TEXT_FILE_OR_GLOB...

Makes a virtual environment, installs electra_jax, trains a WordPiece vocabulary on your text, turns
the text into rows, pretrains, and writes a report. Each stage is left out when its result is already
there, and an interrupted pretraining resumes, so the same command may be run again at any time.

Text: .txt (documents separated by blank lines, or one a line), .jsonl (one {"text": ...} a line), also .gz.

Options:
  --workdir=DIR       where everything is written            (default: runs/speedrun)
  --size=NAME         a size of configs/pretrain.py          (default: small)
  --vocab_size=N      tokens in the vocabulary               (default: 30522)
  --seq_len=N         tokens in a row                        (default: 128)
  --steps=N           optimizer steps                        (default: what the size says)
  --batch_size=N      rows in a step                         (default: what the size says)
  --accelerator=NAME  cpu, cuda, cuda12 or tpu               (default: what is found here)
  --python=PATH       the Python that makes the environment  (default: python3.11, 3.12 or 3.13)
  --venv=DIR          the environment                        (default: .venv of this checkout)
  --dry_run           print the commands and run none of them
  --help              this text

Example, on any text you have:
  launch/speedrun.sh --workdir=runs/mine 'corpus/*.txt'

A first look in some minutes on a laptop (for the finished model leave both options out):
  launch/speedrun.sh --steps=300 --batch_size=32 'corpus/*.txt'
TEXT
}

fail() {
    printf 'speedrun: %s\n' "$1" >&2
    exit 2
}

repository="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
workdir=runs/speedrun
size=small
vocab_size=30522
seq_len=128
steps=
batch_size=
accelerator=
python=
venv="$repository/.venv"
dry_run=false
inputs=()

while (($#)); do
    case "$1" in
        --workdir=?*) workdir="${1#*=}" ;;
        --size=?*) size="${1#*=}" ;;
        --vocab_size=?*) vocab_size="${1#*=}" ;;
        --seq_len=?*) seq_len="${1#*=}" ;;
        --steps=?*) steps="${1#*=}" ;;
        --batch_size=?*) batch_size="${1#*=}" ;;
        --accelerator=?*) accelerator="${1#*=}" ;;
        --python=?*) python="${1#*=}" ;;
        --venv=?*) venv="${1#*=}" ;;
        --dry_run) dry_run=true ;;
        --help | -h)
            usage
            exit 0
            ;;
        --)
            shift
            inputs+=("$@")
            break
            ;;
        -*) fail "unknown option $1 (see --help)" ;;
        *) inputs+=("$1") ;;
    esac
    shift
done

case "$size" in
    tiny | small | base | large | small_pp | base_pp | large_1_75m) ;;
    *) fail "--size=$size: choose one of tiny small base large small_pp base_pp large_1_75m" ;;
esac
((${#inputs[@]})) || fail "name at least one text file or quoted glob (see --help)"
for number in "$vocab_size" "$seq_len" "${steps:-1}" "${batch_size:-1}"; do
    [[ "$number" =~ ^[1-9][0-9]*$ ]] || fail "not a positive number: $number"
done
for pattern in "${inputs[@]}"; do
    compgen -G "$pattern" >/dev/null || fail "no file matches $pattern"
done

if [[ -z "$accelerator" ]]; then
    if command -v nvidia-smi >/dev/null && nvidia-smi -L >/dev/null 2>&1; then
        accelerator=cuda
    elif [[ -e /dev/accel0 || -e /dev/vfio/0 ]]; then
        accelerator=tpu
    else
        accelerator=cpu
    fi
fi
case "$accelerator" in
    cpu) requirement="$repository" ;;
    cuda | cuda12 | tpu) requirement="${repository}[$accelerator]" ;;
    *) fail "unknown accelerator $accelerator: choose cpu, cuda, cuda12 or tpu" ;;
esac

if [[ -z "$python" && ! -x "$venv/bin/python" ]]; then
    # A name on PATH may be a version manager's empty shim, so each candidate is tried.
    for candidate in python3.11 python3.12 python3.13 python3; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            python="$candidate"
            break
        fi
    done
    [[ -n "$python" ]] || fail "no Python 3.11 or newer found; name one with --python=PATH"
fi

run() {
    printf '+'
    printf ' %q' "$@"
    printf '\n'
    $dry_run || "$@"
}

electra="$venv/bin/electra-jax"
tokenizer="$workdir/tokenizer"
rows="$workdir/rows"
model="$workdir/$size"

given=()
for pattern in "${inputs[@]}"; do
    given+=("--input=$pattern")
done
overrides=("--config.data.path=$rows")
[[ -z "$steps" ]] || overrides+=("--config.train.steps=$steps")
[[ -z "$batch_size" ]] || overrides+=("--config.train.batch_size=$batch_size")

[[ -x "$venv/bin/python" ]] || run "$python" -m venv "$venv"
[[ -x "$electra" ]] ||
    run "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable "$requirement"
[[ -e "$tokenizer/tokenizer.json" ]] ||
    run "$electra" vocab "${given[@]}" --type=wordpiece --size="$vocab_size" --output="$tokenizer"
# rows.json is written last, so its absence means unfinished.
[[ -e "$rows/rows.json" ]] ||
    run "$electra" prepare "${given[@]}" --tokenizer="$tokenizer" --output="$rows" --seq_len="$seq_len"
run "$electra" pretrain "--config=configs/pretrain.py:$size" --workdir="$model" "${overrides[@]}"
run "$electra" report "$model"

$dry_run || printf 'done: %s/report.html, %s/model/discriminator\n' "$model" "$model"

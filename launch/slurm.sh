#!/usr/bin/env bash
# Submits a pretraining run to Slurm: one process a GPU on any number of nodes, requeued when preempted.
set -euo pipefail

usage() {
    cat <<'TEXT'
Usage: launch/slurm.sh [options] -- PRETRAIN_ARGUMENTS...

Submits `electra-jax pretrain PRETRAIN_ARGUMENTS` with sbatch. Some minutes before the time limit, or when
the job is preempted, every process saves the same step and the job queues again, until the run is done.
--workdir and data.path must lie on a file system that all nodes share.

Options:
  --nodes=N           (default: 1)
  --gpus=N            on each node; a process each           (default: 8)
  --cpus=N            for each process                       (default: 8)
  --time=LIMIT        of one stay on the nodes               (default: 24:00:00)
  --grace=SECONDS     before the limit, to save              (default: 300)
  --partition=NAME --account=NAME --qos=NAME                 (default: the cluster's)
  --name=NAME         of the job                             (default: electra)
  --logs=DIR          where its output goes                  (default: the current folder)
  --venv=DIR          the environment                        (default: .venv of this checkout)
  --dry_run           print the command and run nothing
  --help              this text

Example:
  launch/slurm.sh --nodes=2 --gpus=8 -- --config=configs/pretrain.py:large --workdir=/shared/runs/large \
    --config.data.path=/shared/rows --config.mesh.fsdp=8 --config.train.dtype=bfloat16
TEXT
}

fail() {
    printf 'slurm: %s\n' "$1" >&2
    exit 2
}

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
nodes=1
gpus=8
cpus=8
limit=24:00:00
grace=300
name=electra
logs=.
venv="$(dirname "$here")/.venv"
dry_run=false
more=()
arguments=()

while (($#)); do
    case "$1" in
        --nodes=?*) nodes="${1#*=}" ;;
        --gpus=?*) gpus="${1#*=}" ;;
        --cpus=?*) cpus="${1#*=}" ;;
        --time=?*) limit="${1#*=}" ;;
        --grace=?*) grace="${1#*=}" ;;
        --partition=?* | --account=?* | --qos=?*) more+=("$1") ;;
        --name=?*) name="${1#*=}" ;;
        --logs=?*) logs="${1#*=}" ;;
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
for number in "$nodes" "$gpus" "$cpus" "$grace"; do
    [[ "$number" =~ ^[1-9][0-9]*$ ]] || fail "not a positive number: $number"
done

command=(sbatch "--job-name=$name" "--nodes=$nodes" "--ntasks-per-node=$gpus" "--gpus-per-node=$gpus"
    "--cpus-per-task=$cpus" "--time=$limit" "--signal=TERM@$grace" --requeue --open-mode=append
    "--output=$logs/$name-%j.log" "${more[@]}" "$here/slurm_job.sh" "$venv/bin/electra-jax" pretrain
    "${arguments[@]}")
printf '+'
printf ' %q' "${command[@]}"
printf '\n'
$dry_run || "${command[@]}"

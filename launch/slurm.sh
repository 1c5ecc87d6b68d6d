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
  --gpus=N            on each node; a process each           (default: 8, or what --gres says)
  --cpus=N            for each process                       (default: 8)
  --time=LIMIT        of one stay on the nodes               (default: 24:00:00)
  --grace=SECONDS     before the limit, to save              (default: 300)
  --name=NAME         of the job                             (default: electra)
  --logs=DIR          where its output goes                  (default: the current folder)
  --gres=gpu:TYPE:N   where the cluster wants GPUs asked for like this: in place of --gpus-per-node
  --module=NAME       loaded before the run; may be given several times
  --srun=OPTION       a further option of srun, such as --srun=--cpu-bind=cores; may be given several times
  --image=IMAGE       a container image with electra-jax in it (launch/Dockerfile): a .sif file is run by
                      Apptainer, anything else by Pyxis (registry#name:tag, or a .sqsh file)
  --mounts=SRC:DST,…  folders that the container sees; the shared ones must be among them
  --venv=DIR          the environment, without --image       (default: .venv of this checkout)
  --dry_run           print the command and run nothing
  --help              this text

Any other --option or --option=value goes to sbatch as it is: --partition=NAME --account=NAME --qos=NAME
--mem=0 --constraint=h100 --exclude='node[3-5]' --exclusive --reservation=NAME --mail-type=FAIL …

Example:
  launch/slurm.sh --nodes=2 --gpus=8 --partition=long --mem=0 -- --config=configs/pretrain.py:large \
    --workdir=/shared/runs/large --config.data.path=/shared/rows --config.mesh.fsdp=8 \
    --config.train.dtype=bfloat16
TEXT
}

fail() {
    printf 'slurm: %s\n' "$1" >&2
    exit 2
}

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
nodes=1
gpus=
gres=
cpus=8
limit=24:00:00
grace=300
name=electra
logs=.
image=
mounts=
venv="$(dirname "$here")/.venv"
dry_run=false
more=()
job=("$here/slurm_job.sh")
arguments=()

while (($#)); do
    case "$1" in
        --nodes=?*) nodes="${1#*=}" ;;
        --gpus=?*) gpus="${1#*=}" ;;
        --cpus=?*) cpus="${1#*=}" ;;
        --time=?*) limit="${1#*=}" ;;
        --grace=?*) grace="${1#*=}" ;;
        --name=?*) name="${1#*=}" ;;
        --logs=?*) logs="${1#*=}" ;;
        --gres=gpu*) gres="$1" ;;
        --module=?* | --srun=?*) job+=("$1") ;;
        --image=?*) image="${1#*=}" ;;
        --mounts=?*) mounts="${1#*=}" ;;
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
        --config | --config=* | --config.* | --workdir | --workdir=*)
            fail "$1 is for pretrain: what pretrain gets comes after -- (see --help)"
            ;;
        --array | --array=*) fail "an array would run several jobs in one work folder; see electra-jax sweep" ;;
        --[a-z]*) more+=("$1") ;;
        *) fail "unknown option $1; sbatch's options are taken as --option or --option=value (see --help)" ;;
    esac
    shift
done

((${#arguments[@]})) || fail "after -- say what to pretrain: -- --config=… --workdir=… (see --help)"
if [[ -n "$gres" ]]; then
    # gpu, gpu:N, gpu:TYPE or gpu:TYPE:N, perhaps with other resources after a comma
    count="${gres#--gres=}"
    count="${count%%,*}"
    count="${count##*:}"
    [[ "$count" =~ ^[0-9]+$ ]] || count=1
    [[ "${gpus:-$count}" == "$count" ]] || fail "--gpus=$gpus and $gres do not agree"
    gpus="$count"
fi
gpus="${gpus:-8}"
for number in "$nodes" "$gpus" "$cpus" "$grace"; do
    [[ "$number" =~ ^[1-9][0-9]*$ ]] || fail "not a positive number: $number"
done
[[ -z "$mounts" || -n "$image" ]] || fail "--mounts is of a container: name it with --image=IMAGE"

case "$image" in
    "") job+=("$venv/bin/electra-jax") ;;
    *.sif)
        job+=(apptainer exec --nv)
        [[ -z "$mounts" ]] || job+=("--bind=$mounts")
        job+=("$image" electra-jax)
        ;;
    *)
        job+=("--srun=--container-image=$image")
        [[ -z "$mounts" ]] || job+=("--srun=--container-mounts=$mounts")
        job+=(electra-jax)
        ;;
esac

command=(sbatch "--job-name=$name" "--nodes=$nodes" "--ntasks-per-node=$gpus"
    "${gres:---gpus-per-node=$gpus}" "--cpus-per-task=$cpus" "--time=$limit" "--signal=TERM@$grace" --requeue
    --open-mode=append "--output=$logs/$name-%j.log")
if ((${#more[@]})); then command+=("${more[@]}"); fi
command+=("${job[@]}" pretrain "${arguments[@]}")
printf '+'
printf ' %q' "${command[@]}"
printf '\n'
$dry_run || "${command[@]}"

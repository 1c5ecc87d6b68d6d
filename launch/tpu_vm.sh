#!/usr/bin/env bash
# Pretrains on a Cloud TPU slice of any size: makes it, installs, runs on every host, follows the log,
# and begins again where a preempted slice left off.
set -euo pipefail

usage() {
    cat <<'TEXT'
Usage: launch/tpu_vm.sh --name=NAME --zone=ZONE --type=TYPE [options] -- PRETRAIN_ARGUMENTS...

Creates the TPU slice NAME (or uses the one of that name), copies this checkout to every host and installs
it, starts `electra-jax pretrain PRETRAIN_ARGUMENTS` on all of them and follows the log of the first. A run
that was preempted or that failed is started again and resumes from its last checkpoint; the same command
may also be given again at any time, from anywhere: it then follows what is running.

The work folder must be one that all hosts share: --workdir=gs://BUCKET/FOLDER, or a mounted file system.

Options:
  --project=NAME      Google Cloud project                   (default: gcloud's)
  --version=NAME      software of the hosts                  (default: tpu-ubuntu2204-base)
  --rows=URL          rows folder in a bucket; copied to every host and given as data.path
  --spot              cheaper chips that may be taken away
  --queued            wait in the queue for chips (queued resources)
  --restarts=N        how often a run that ended early is started again   (default: 1000)
  --poll=SECONDS      between two looks at the queue         (default: 60)
  --dry_run           print the commands of a first start and run none of them
  --help              this text

Example:
  launch/tpu_vm.sh --name=large --zone=us-central2-b --type=v4-32 --spot --queued \
    --rows=gs://my-bucket/rows -- --config=configs/pretrain.py:large --workdir=gs://my-bucket/runs/large

The slice is not deleted at the end: gcloud compute tpus tpu-vm delete NAME --zone=ZONE
TEXT
}

fail() {
    printf 'tpu_vm: %s\n' "$1" >&2
    exit 2
}

repository="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
name=
zone=
type=
project=
version=tpu-ubuntu2204-base
rows=
spot=false
queued=false
restarts=1000
poll=60
dry_run=false
arguments=()

while (($#)); do
    case "$1" in
        --name=?*) name="${1#*=}" ;;
        --zone=?*) zone="${1#*=}" ;;
        --type=?*) type="${1#*=}" ;;
        --project=?*) project="${1#*=}" ;;
        --version=?*) version="${1#*=}" ;;
        --rows=?*) rows="${1#*=}" ;;
        --spot) spot=true ;;
        --queued) queued=true ;;
        --restarts=?*) restarts="${1#*=}" ;;
        --poll=?*) poll="${1#*=}" ;;
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

for field in name zone type; do
    [[ -n "${!field}" ]] || fail "--$field is missing (see --help)"
done
((${#arguments[@]})) || fail "after -- say what to pretrain: -- --config=… --workdir=… (see --help)"
for number in "$restarts" "$poll"; do
    [[ "$number" =~ ^[0-9]+$ ]] || fail "not a number: $number"
done

where=("--zone=$zone")
[[ -z "$project" ]] || where+=("--project=$project")
tpu_vm=(gcloud compute tpus tpu-vm)
queue=(gcloud compute tpus queued-resources)
spot_flag=()
$spot && spot_flag=(--spot)

run() {
    printf '+'
    printf ' %q' "$@"
    printf '\n'
    $dry_run || "$@"
}

# On the hosts the checkout lies in ~/electra_jax; a run leaves run.pid, run.log and run.exit there.
[[ -z "$rows" ]] || arguments+=(--config.data.path=rows)
printf -v pretrain ' %q' "${arguments[@]}"
install='set -e
mkdir -p electra_jax && tar -xzf electra_jax.tar.gz -C electra_jax && cd electra_jax
command -v python3.11 >/dev/null || { sudo apt-get -qq update && sudo apt-get -qq install -y python3.11-venv; }
[ -x .venv/bin/python ] || python3.11 -m venv .venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check ".[tpu]"'
[[ -z "$rows" ]] || install+="
gcloud storage rsync --recursive $(printf %q "$rows") rows"
start="cd electra_jax
if [ -e run.pid ] && kill -0 \"\$(cat run.pid)\" 2>/dev/null; then exit 0; fi
rm -f run.exit
nohup sh -c '.venv/bin/electra-jax pretrain \"\$@\"; echo \$? >run.exit' sh$pretrain >>run.log 2>&1 </dev/null &
echo \$! >run.pid"
# shellcheck disable=SC2016 # expanded on the host
follow='cd electra_jax && tail -n 50 -F --pid="$(cat run.pid)" run.log'

state() {
    "${tpu_vm[@]}" describe "$name" "${where[@]}" '--format=value(state)' 2>/dev/null || true
}

create() {
    if $queued; then
        run "${queue[@]}" create "$name" "--node-id=$name" "${where[@]}" "--accelerator-type=$type" \
            "--runtime-version=$version" "${spot_flag[@]}"
        $dry_run && return
        local waiting
        while waiting="$("${queue[@]}" describe "$name" "${where[@]}" '--format=value(state.state)')" &&
            [[ "$waiting" != ACTIVE ]]; do
            [[ "$waiting" != FAILED && "$waiting" != SUSPENDED ]] ||
                { remove && create && return; }
            printf 'waiting for %s: %s\n' "$type" "$waiting"
            sleep "$poll"
        done
    else
        run "${tpu_vm[@]}" create "$name" "${where[@]}" "--accelerator-type=$type" "--version=$version" \
            "${spot_flag[@]}"
    fi
}

remove() {
    if $queued; then
        run "${queue[@]}" delete "$name" "${where[@]}" --force --quiet
    else
        run "${tpu_vm[@]}" delete "$name" "${where[@]}" --quiet
    fi
}

on_hosts() {
    run "${tpu_vm[@]}" ssh "$name" "${where[@]}" "--worker=$1" "--command=$2"
}

# A slice that is there and ready; sets `fresh` where it has just been made.
fresh=false
have_slice() {
    local now=
    $dry_run || now="$(state)"
    fresh=false
    [[ "$now" == READY ]] && return
    [[ -z "$now" ]] || remove
    create
    fresh=true
}

install_all() {
    local archive
    archive="${TMPDIR:-/tmp}/electra_jax-$name.tar.gz"
    run git -C "$repository" archive --format=tar.gz "--output=$archive" HEAD
    run "${tpu_vm[@]}" scp "$archive" "$name:electra_jax.tar.gz" "${where[@]}" --worker=all
    on_hosts all "$install"
}

for ((attempt = 0; attempt <= restarts; attempt++)); do
    have_slice
    if $fresh || ((attempt == 0)); then
        install_all || { printf 'tpu_vm: installing failed\n' >&2 && [[ "$(state)" != READY ]] && continue || exit 1; }
    fi
    on_hosts all "$start" || continue
    on_hosts 0 "$follow" || true
    $dry_run && exit 0
    code="$(on_hosts 0 'cat electra_jax/run.exit' 2>/dev/null | tail -n 1)" || code=
    case "$code" in
        0)
            printf 'done\n'
            exit 0
            ;;
        2) fail "the run refused its input or configuration; its message stands above" ;;
        *) printf 'the run ended early (%s); starting it again\n' "${code:-its host is gone}" ;;
    esac
done
printf 'tpu_vm: gave up after %s restarts\n' "$restarts" >&2
exit 1

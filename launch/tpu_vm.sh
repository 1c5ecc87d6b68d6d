#!/usr/bin/env bash
# Pretrains on a Cloud TPU slice of any size: makes it, installs, runs on every host, follows the log,
# and begins again where a preempted slice left off.
set -euo pipefail

usage() {
    cat <<'TEXT'
Usage: launch/tpu_vm.sh --name=NAME --zone=ZONE --type=TYPE [options] -- PRETRAIN_ARGUMENTS...

Creates the TPU slice NAME (or uses the one of that name), copies this checkout to every host and installs
it, starts `electra-jax pretrain PRETRAIN_ARGUMENTS` on all of them and follows the log of the first.

A slice that is being created, started or repaired is waited for; one that was preempted or terminated is
deleted and made anew. When no chips are to be had, when installing fails or when a run ends early, it
tries again, after longer and longer pauses; the run resumes from its last checkpoint. An error that
trying again cannot mend (no permission, an unknown type, wrong input of the run) ends it at once.
The same command may be given again at any time, from anywhere: it waits for the request that is in the
queue and follows what is running. It asks no questions.

The work folder must be one that all hosts share: --workdir=gs://BUCKET/FOLDER, or a mounted file system.

Options:
  --project=NAME      Google Cloud project                   (default: gcloud's)
  --image=NAME        software of the hosts; --version is the same
                      (default: v2 to v4 tpu-ubuntu2204-base, v5litepod v2-alpha-tpuv5-lite,
                      v5p v2-alpha-tpuv5, v6e v2-alpha-tpuv6e)
  --rows=URL          rows folder in a bucket; copied to every host and given as data.path
  --spot              cheaper chips that may be taken away
  --reserved          chips of your reservation
  --queued            wait in the queue for chips (queued resources)
  --network=NAME --subnetwork=NAME                           (default: the project's `default`)
  --service_account=EMAIL   whose rights the hosts have      (default: Compute Engine's)
  --internal_ips      hosts without public addresses: run this in their network; apt and pip on the
                      hosts then need Cloud NAT
  --restarts=N        how often it tries again, all in all   (default: 1000)
  --poll=SECONDS      between two looks at what is waited for, and before the first new try; the pause
                      doubles up to 16 times that            (default: 60)
  --dry_run           print the commands of a first start and run none of them
  --help              this text

Example:
  launch/tpu_vm.sh --name=large --zone=us-central2-b --type=v4-32 --spot --queued \
    --rows=gs://my-bucket/rows -- --config=configs/pretrain.py:large --workdir=gs://my-bucket/runs/large

The slice is not deleted at the end: gcloud compute tpus tpu-vm delete NAME --zone=ZONE
(with --queued: gcloud compute tpus queued-resources delete NAME --zone=ZONE --force)
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
image=
rows=
spot=false
reserved=false
queued=false
internal=false
restarts=1000
poll=60
dry_run=false
network=()
arguments=()

while (($#)); do
    case "$1" in
        --name=?*) name="${1#*=}" ;;
        --zone=?*) zone="${1#*=}" ;;
        --type=?*) type="${1#*=}" ;;
        --project=?*) project="${1#*=}" ;;
        --image=?* | --version=?*) image="${1#*=}" ;;
        --rows=?*) rows="${1#*=}" ;;
        --network=?* | --subnetwork=?*) network+=("$1") ;;
        --service_account=?*) network+=("--service-account=${1#*=}") ;;
        --spot) spot=true ;;
        --reserved) reserved=true ;;
        --queued) queued=true ;;
        --internal_ips) internal=true ;;
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
if $spot && $reserved; then
    fail "--spot and --reserved exclude each other"
fi
if [[ "$type" == v5e-* ]]; then
    type="v5litepod-${type#*-}"
    printf 'gcloud calls this type %s\n' "$type" >&2
fi
if [[ -z "$image" ]]; then
    case "$type" in
        v2-* | v3-* | v4-*) image=tpu-ubuntu2204-base ;;
        v5litepod-*) image=v2-alpha-tpuv5-lite ;;
        v5p-*) image=v2-alpha-tpuv5 ;;
        v6e-*) image=v2-alpha-tpuv6e ;;
        *) fail "no image is known for --type=$type: name one with --image=NAME (gcloud compute tpus tpu-vm \
versions list --zone=$zone); TPUs newer than v6e are had through GKE (launch/kubernetes_tpu.yaml)" ;;
    esac
fi

where=("--zone=$zone" --quiet)
[[ -z "$project" ]] || where+=("--project=$project")
tpu_vm=(gcloud compute tpus tpu-vm)
queue=(gcloud compute tpus queued-resources)
ssh=("--ssh-flag=-oBatchMode=yes")
scp=("--scp-flag=-oBatchMode=yes")
# What both ways to create a slice take.
resources=("--accelerator-type=$type")
if $spot; then resources+=(--spot); fi
if $reserved; then resources+=(--reserved); fi
if ((${#network[@]})); then resources+=("${network[@]}"); fi
if $internal; then
    resources+=(--internal-ips)
    ssh+=(--internal-ip)
    scp+=(--internal-ip)
fi

# On the hosts the checkout lies in ~/electra_jax; a run leaves run.pid, run.log and run.exit there.
[[ -z "$rows" ]] || arguments+=(--config.data.path=rows)
printf -v pretrain ' %q' "${arguments[@]}"
# shellcheck disable=SC2016 # expanded on the host
running='[ -e run.pid ] && grep -qs electra-jax "/proc/$(cat run.pid)/cmdline"'
# Ubuntu 22.04 brings Python 3.10 and, of 3.11, a release candidate; 3.12 is in the deadsnakes archive.
# A host that has just booted upgrades itself and holds apt's locks: DPkg::Lock::Timeout waits for one of
# them, the new tries for the others.
install="set -e
mkdir -p electra_jax && cd electra_jax
if $running; then exit 0; fi
tar -xzf ../electra_jax.tar.gz"
# shellcheck disable=SC2016 # expanded on the host
install+='
find_python() {
    for python in python3.12 python3.13 python3.11 python3; do
        if "$python" -c "import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))" 2>/dev/null; then
            return
        fi
    done
    return 1
}
apt() {
    sudo -n env DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=a apt-get -qq -o DPkg::Lock::Timeout=600 "$@"
}
add_python() {
    apt update && apt install -y software-properties-common &&
        sudo -n add-apt-repository -y ppa:deadsnakes/ppa && apt update && apt install -y python3.12-venv
}
attempt=0
until find_python; do
    attempt=$((attempt + 1))
    [ "$attempt" -le 20 ] || { echo "no Python 3.11 or newer, and apt has none" >&2; exit 1; }
    add_python || { [ "$attempt" -ge 10 ] && apt install -y python3.11-venv; } || sleep 15
done
[ -x .venv/bin/python ] || "$python" -m venv .venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check ".[tpu]"'
[[ -z "$rows" ]] || install+="
gcloud storage rsync --recursive $(printf %q "$rows") rows"
run_it="rm -f run.exit
nohup setsid sh -c '.venv/bin/electra-jax pretrain \"\$@\"; echo \$? >run.exit' sh$pretrain >>run.log 2>&1 </dev/null &
echo \$! >run.pid"
start="cd electra_jax || exit
if $running; then exit 0; fi
$run_it"
# After a run that ended early: what is left of it on some host ends by itself, or is ended.
start_again="cd electra_jax || exit
for _ in \$(seq 120); do
    if $running; then sleep 1; else break; fi
done
if $running; then kill -KILL -- \"-\$(cat run.pid)\"; fi
$run_it"
# shellcheck disable=SC2016 # expanded on the host
follow='cd electra_jax && tail -n 50 -F --pid="$(cat run.pid)" run.log'
outcome="cd electra_jax || exit; if $running; then echo running; else cat run.exit; fi"

run() {
    printf '+'
    printf ' %q' "$@"
    printf '\n'
    $dry_run || "$@"
}

# Runs a command of gcloud that changes something; what it printed is in `output`.
output=
change() {
    local code=0
    printf '+'
    printf ' %q' "$@"
    printf '\n'
    $dry_run && return
    output="$("$@" 2>&1)" || code=$?
    [[ -z "$output" ]] || printf '%s\n' "$output"
    return "$code"
}

# Errors that trying again cannot mend, by their names and by the numbers in an operation's result.
hopeless='INVALID_ARGUMENT|PERMISSION_DENIED|UNAUTHENTICATED|NOT_FOUND|UNIMPLEMENTED|"?code"?: (3|5|7|12|16)([^0-9]|$)'
hopeless+='|gcloud auth login|unrecognized arguments|Invalid value for|Limit: 0(,0)*([^0-9]|$)'

tries=0
in_a_row=0
# again WHY: pauses before the next try, twice as long each time; ends the script after --restarts.
again() {
    if ((tries >= restarts)); then
        printf 'tpu_vm: %s; gave up after %s restarts\n' "$1" "$restarts" >&2
        exit 1
    fi
    local pause=$((poll << (in_a_row < 4 ? in_a_row : 4)))
    tries=$((tries + 1))
    in_a_row=$((in_a_row + 1))
    printf '%s; trying again in %s s (%s of %s)\n' "$1" "$pause" "$tries" "$restarts"
    sleep "$pause"
}

# The end, where the error in `output` cannot be mended.
refuse_hopeless() {
    if grep -qE "$hopeless" <<<"$output"; then
        fail "$1; gcloud's message stands above"
    fi
}

again_unless_hopeless() {
    refuse_hopeless "$1"
    again "$1"
}

# describe COMMAND...: the state in `now`; ABSENT where gcloud does not know the name.
now=
describe() {
    local code=0
    output="$("$@" 2>"$scratch/errors")" || code=$?
    now="$output"
    ((code)) || return 0
    output="$(<"$scratch/errors")"
    if grep -qE 'NOT_FOUND|was not found' <<<"$output"; then
        now=ABSENT
        return 0
    fi
    printf '%s\n' "$output" >&2
    return 1
}

# What there is of the slice, in `now`: a node's state, a queued request's, or ABSENT.
in_queue=false
look() {
    in_queue=false
    describe "${tpu_vm[@]}" describe "$name" "${where[@]}" '--format=value(state)' || return 1
    if [[ "$now" == READY ]] || ! $queued; then
        return 0
    fi
    local node="$now"
    describe "${queue[@]}" describe "$name" "${where[@]}" '--format=value(state.state)' || return 1
    case "$now" in
        ABSENT) now="$node" ;;
        ACTIVE)
            in_queue=true
            now="$node"
            [[ "$node" != ABSENT ]] || now=TERMINATED # the request is of no use without its node
            ;;
        *) in_queue=true ;;
    esac
}

create() {
    if $queued; then
        change "${queue[@]}" create "$name" "--node-id=$name" "${where[@]}" "--runtime-version=$image" \
            "${resources[@]}"
    else
        change "${tpu_vm[@]}" create "$name" "${where[@]}" "--version=$image" "${resources[@]}"
    fi
}

remove() {
    if $in_queue; then
        change "${queue[@]}" delete "$name" "${where[@]}" --force
    else
        change "${tpu_vm[@]}" delete "$name" "${where[@]}"
    fi
}

# Returns when the slice is ready; `installed` is false from then on where it was not all the time.
installed=false
have_slice() {
    if $dry_run; then
        create
        return
    fi
    local printed="" created=false
    while :; do
        look || {
            again_unless_hopeless "cannot ask for the state of $name"
            continue
        }
        [[ "$now" != READY ]] || return 0
        installed=false
        case "$now" in
            ABSENT)
                if create; then
                    created=true
                elif grep -qE 'ALREADY_EXISTS|already exists|"?code"?: 6([^0-9]|$)' <<<"$output"; then
                    sleep "$poll"
                else
                    again_unless_hopeless "no slice of type $type"
                fi
                ;;
            PREEMPTED | TERMINATED | FAILED | SUSPENDED | UNKNOWN)
                printf '%s is %s: made anew\n' "$name" "$now"
                if [[ "$now" == FAILED ]]; then
                    output="$("${queue[@]}" describe "$name" "${where[@]}" '--format=yaml(state)' 2>&1)" || true
                    printf '%s\n' "$output"
                    refuse_hopeless "the queued request failed"
                fi
                remove || [[ "$output" == *NOT_FOUND* ]] || again_unless_hopeless "cannot delete $name"
                if $created; then
                    again "the new slice was $now before the run began"
                fi
                ;;
            STOPPED)
                change "${tpu_vm[@]}" start "$name" "${where[@]}" || again_unless_hopeless "cannot start $name"
                ;;
            *) # CREATING, STARTING, REPAIRING, WAITING_FOR_RESOURCES, …: it goes on by itself
                [[ "$now" == "$printed" ]] || printf 'waiting for %s: %s\n' "$type" "$now"
                printed="$now"
                sleep "$poll"
                ;;
        esac
    done
}

on_hosts() {
    run "${tpu_vm[@]}" ssh "$name" "${where[@]}" "${ssh[@]}" "--worker=$1" "--command=$2"
}

install_all() {
    local archive
    archive="${TMPDIR:-/tmp}/electra_jax-$name.tar.gz"
    run git -C "$repository" archive --format=tar.gz "--output=$archive" HEAD || return
    run "${tpu_vm[@]}" scp "$archive" "$name:electra_jax.tar.gz" "${where[@]}" "${scp[@]}" --worker=all || return
    on_hosts all "$install"
}

# gcloud reaches several hosts at once only with a key that needs no passphrase, or that the agent holds.
have_key() {
    local key="$HOME/.ssh/google_compute_engine"
    if [[ ! -e "$key" ]]; then
        (umask 077 && mkdir -p "$HOME/.ssh")
        ssh-keygen -q -t rsa -b 3072 -N '' -C "${USER:-electra}" -f "$key" </dev/null
    fi
    if ! ssh-keygen -y -P '' -f "$key" >/dev/null 2>&1; then
        local fingerprint
        fingerprint="$(ssh-keygen -lf "$key.pub" | cut -d' ' -f2)"
        [[ -n "$fingerprint" && "$(ssh-add -l 2>/dev/null)" == *"$fingerprint"* ]] ||
            fail "$key has a passphrase and no agent holds it: run ssh-add $key, then this again"
    elif ssh-add -l >/dev/null 2>&1; then
        # Where an agent holds other keys, gcloud insists on its own being among them.
        ssh-add -q "$key" </dev/null || true
    fi
}

if ! $dry_run; then
    command -v gcloud >/dev/null || fail "gcloud is not installed: see https://cloud.google.com/sdk/docs/install"
    scratch="$(mktemp -d)"
    trap 'rm -rf "$scratch"' EXIT
    have_key
    git -C "$repository" diff --quiet HEAD 2>/dev/null ||
        printf 'tpu_vm: what is not committed in %s is not copied to the hosts\n' "$repository" >&2
fi

broken_installs=0
begin="$start"
while :; do
    have_slice
    if ! $installed; then
        if ! install_all; then
            broken_installs=$((broken_installs + 1))
            ((broken_installs < 4)) || fail "installing failed $broken_installs times; its messages stand above"
            again "installing failed"
            continue
        fi
        installed=true
        broken_installs=0
    fi
    on_hosts all "$begin" || {
        again "the hosts did not answer"
        continue
    }
    began=$SECONDS
    code=running
    while [[ "$code" == running ]]; do # the connection may end before the run does
        on_hosts 0 "$follow" || true
        $dry_run && exit 0
        code="$(on_hosts 0 "$outcome" 2>/dev/null | tail -n 1)" || code=
        [[ "$code" != running ]] || sleep "$poll"
    done
    case "$code" in
        0)
            printf 'done\n'
            exit 0
            ;;
        2) fail "the run refused its input or configuration; its message stands above" ;;
    esac
    ((SECONDS - began < 1800)) || in_a_row=0
    # Where nobody knows how it ended it may be running yet, out of reach: then nothing is to be ended.
    if [[ -n "$code" ]]; then begin="$start_again"; else begin="$start"; fi
    again "the run ended early (${code:-its host is gone})"
done

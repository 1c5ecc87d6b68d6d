#!/usr/bin/env bash
# What launch/slurm.sh submits: slurm_job.sh [--module=NAME]... [--srun=OPTION]... COMMAND...
# The command on all processes of the job; queued again where SIGTERM made it save and stop (143).
set -uo pipefail

# Since Slurm 22.05 a step does not inherit its job's --cpus-per-task. The first process to leave must
# not take those with it that are still saving.
step_options=(--kill-on-bad-exit=0 --wait=300)
[[ -z "${SLURM_CPUS_PER_TASK:-}" ]] || step_options+=("--cpus-per-task=$SLURM_CPUS_PER_TASK")

# `module` is a function of login shells, which this is not.
find_module() {
    local file
    for file in "${MODULESHOME:-/usr/share/modules}/init/bash" /etc/profile.d/modules.sh \
        /etc/profile.d/lmod.sh /usr/share/lmod/lmod/init/bash; do
        ! declare -F module >/dev/null || return 0
        # shellcheck disable=SC1090 # one of the above
        [[ ! -r "$file" ]] || source "$file"
    done
    declare -F module >/dev/null
}

while (($#)); do
    case "$1" in
        --module=*)
            find_module || {
                printf 'slurm: this node has no environment modules; leave %s out\n' "$1" >&2
                exit 2
            }
            module load "${1#*=}" || {
                printf 'slurm: cannot load the module %s\n' "${1#*=}" >&2
                exit 2
            }
            ;;
        --srun=*) step_options+=("${1#*=}") ;;
        *) break ;;
    esac
    shift
done

# Slurm may send SIGTERM to this shell too; it must outlive the processes, to queue the job again.
trap : TERM
srun "${step_options[@]}" "$@" &
step=$!
wait "$step"
code=$?
while kill -0 "$step" 2>/dev/null; do # the wait was interrupted by the signal
    wait "$step"
    code=$?
done
if ((code == 143)); then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"

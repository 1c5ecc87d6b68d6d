#!/usr/bin/env bash
# What launch/slurm.sh submits: the command on all processes of the job; queued again where SIGTERM made
# it save and stop (143).
set -uo pipefail

# Slurm may send SIGTERM to this shell too; it must outlive the processes, to queue the job again.
trap : TERM
# The first process to leave must not take those with it that are still saving.
srun --kill-on-bad-exit=0 --wait=300 "$@" &
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

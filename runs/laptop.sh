#!/usr/bin/env bash
# Everything on two cores, without a GPU and without data: the sample, its tiny teacher in a real vLLM, verdicts anew.
# Run from the project's root; CI runs it with LIMIT=40.
set -euo pipefail
cd "$(dirname "$0")/.."

make annotate DATASET="${DATASET:-cirr}" LIMIT="${LIMIT:-}" OUT="${OUT:-}"
split=train
if [ "${DATASET:-cirr}" = circo ]; then split=val; fi # CIRCO has no train split
make select OUT="${OUT:-outputs/${DATASET:-cirr}-$split}"

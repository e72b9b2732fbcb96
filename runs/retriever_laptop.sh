#!/usr/bin/env bash
# The sample from nothing to the table on two cores, without a GPU: annotate, train, measure (about 20 minutes).
set -euo pipefail
cd "$(dirname "$0")/.."
make annotate DATASET=cirr
make train-eval ABLATIONS=0

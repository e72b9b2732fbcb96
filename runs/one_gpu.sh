#!/usr/bin/env bash
# One machine with one GPU: vLLM is started here with a 7B teacher, FashionIQ and CIRR are annotated one after the other.
# FASHIONIQ= and CIRR= name the folders of your data (docs: README, "The real job").
set -euo pipefail
cd "$(dirname "$0")/.."
: "${FASHIONIQ:?give the folder of FashionIQ, e.g. FASHIONIQ=/data/FashionIQ}"
: "${CIRR:?give the folder of CIRR, e.g. CIRR=/data/CIRR}"

TEACHER="${TEACHER:-Qwen/Qwen2.5-VL-7B-Instruct}"
# A first look costs minutes: 200 triplets of each, drawn by reference; the whole job then goes on from there.
for limit in 200 ""; do
  make annotate DATASET=fashioniq ROOT="$FASHIONIQ" TEACHER="$TEACHER" CONCURRENCY=128 LIMIT="$limit"
  make annotate DATASET=cirr ROOT="$CIRR" TEACHER="$TEACHER" CONCURRENCY=128 LIMIT="$limit"
done

#!/usr/bin/env bash
# A 72B teacher that runs elsewhere (vLLM on a node with several GPUs), this machine being only the client.
# On the GPU node, with vLLM installed:
#   vllm serve Qwen/Qwen2.5-VL-72B-Instruct --tensor-parallel-size 8 --max-model-len 8192 \
#     --limit-mm-per-prompt '{"image":2}' --mm-processor-cache-gb 4 --enable-prompt-tokens-details --generation-config vllm \
#     --structured-outputs-config '{"backend":"xgrammar","disable_any_whitespace":true}'
# This machine's outputs/ must lie on a local disk (docs/journal.md); give OUT= and RUNNER=local (Prefect's database stays in outputs/) where the checkout is on NFS or Lustre.
# TEACHER_URL= names it; a key, if it wants one, comes from TEACHER_API_KEY in the environment.
set -euo pipefail
cd "$(dirname "$0")/.."
: "${TEACHER_URL:?give the URL of the server, e.g. TEACHER_URL=http://gpu-node:8000/v1}"
: "${FASHIONIQ:?give the folder of FashionIQ}"
: "${CIRR:?give the folder of CIRR}"

TEACHER_MODEL="${TEACHER_MODEL:-Qwen/Qwen2.5-VL-72B-Instruct}"
for job in "fashioniq $FASHIONIQ" "cirr $CIRR"; do
  read -r dataset root <<<"$job"
  make annotate DATASET="$dataset" ROOT="$root" TEACHER_URL="$TEACHER_URL" TEACHER_MODEL="$TEACHER_MODEL" CONCURRENCY=256
done

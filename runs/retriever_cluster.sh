#!/usr/bin/env bash
# The same on one node of 8 GPUs: training under torchrun, chains written by vLLM, embeddings by this process.
#   CIRR=/data/CIRR BASE=/models/Qwen2.5-VL-7B-Instruct runs/retriever_cluster.sh
# It measures CIRR; the other datasets as in runs/retriever_one_gpu.sh, with --generator-url.
# Needs outputs/user-cirr-train and outputs/user-fashioniq-train (runs/cluster.sh makes them).
# Two processes train like one with twice the batch (a test, on CPUs); at this size it has not been run.
set -euo pipefail
cd "$(dirname "$0")/.."
: "${BASE:?give the folder of the base model}"
: "${CIRR:?give the folder of CIRR}"
RUN="${RUN:-outputs/retriever}"
PYTHON=.venv/bin/python
make project teacher-environment
"$PYTHON" -m torch.distributed.run --standalone --nproc-per-node=8 -m retrieval train \
  --data outputs/user-cirr-train --data outputs/user-fashioniq-train --base-model "$BASE" --out "$RUN" \
  --tuning lora --lora-rank 16 --learning-rate 1e-4 --checkpoint-activations --device cuda \
  --batch 2048 --chunk 16 --grad-cache --steps 230 --hard-negatives 1
"$PYTHON" -m retrieval export --model "$RUN/model" --out "$RUN/plain"
# On another GPU than the embeddings, which take the first.
CUDA_VISIBLE_DEVICES=1 VLLM_NO_USAGE_STATS=1 HF_HUB_OFFLINE=1 .venv-teacher/bin/vllm serve "$RUN/plain" --host 127.0.0.1 --port 8001 --max-model-len 4096 >"$RUN/generator.log" 2>&1 &
server=$!
trap 'kill "$server"' EXIT
until curl -sf http://127.0.0.1:8001/health >/dev/null; do kill -0 "$server"; sleep 2; done
"$PYTHON" -m retrieval evaluate --model "$RUN/model" --dataset cirr --root "$CIRR" --out "$RUN/cirr" \
  --generator-url http://127.0.0.1:8001/v1

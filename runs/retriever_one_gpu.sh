#!/usr/bin/env bash
# A real retriever on one GPU of 80 GB: Qwen2.5-VL-7B, LoRA r16, on annotated CIRR and FashionIQ.
#   CIRR=/data/CIRR FASHIONIQ=/data/fashioniq CIRCO=/data/CIRCO BASE=/models/Qwen2.5-VL-7B-Instruct \
#   runs/retriever_one_gpu.sh
# Needs outputs/user-cirr-train and outputs/user-fashioniq-train (runs/one_gpu.sh makes them).
# Written from the plan (`train --plan`) and the commands' tests; it has not been run at this size.
set -euo pipefail
cd "$(dirname "$0")/.."
: "${BASE:?give the folder of the base model}"
: "${CIRR:?give the folder of CIRR}"
: "${FASHIONIQ:?give the folder of FASHIONIQ}"
: "${CIRCO:?give the folder of CIRCO}"
RUN="${RUN:-outputs/retriever}"
PYTHON=.venv/bin/python
SIZE=(--batch 512 --chunk 16 --grad-cache --steps 450 --hard-negatives 1 --checkpoint-activations)
"$PYTHON" -m retrieval train --plan "${SIZE[@]}"
"$PYTHON" -m retrieval train --data outputs/user-cirr-train --data outputs/user-fashioniq-train --base-model "$BASE" \
  --out "$RUN" --tuning lora --lora-rank 16 --learning-rate 1e-4 --device cuda "${SIZE[@]}"
for dataset in cirr fashioniq circo; do
  case "$dataset" in
    cirr) given=(--root "$CIRR") ;;
    fashioniq) given=(--root "$FASHIONIQ" --allow-missing) ;; # images of 330 of its val triplets are gone
    circo) given=(--root "$CIRCO") ;;
  esac
  "$PYTHON" -m retrieval evaluate --model "$RUN/model" --dataset "$dataset" "${given[@]}" --out "$RUN/$dataset"
done
"$PYTHON" -m retrieval export --model "$RUN/model" --out "$RUN/plain"

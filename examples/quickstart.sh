#!/bin/sh
# Every step in order: text -> dataset -> tokenizer and IDF -> model -> bundle -> OpenSearch -> search -> evaluation.
# Each step is one osparse command; where its output was made from the same inputs before, it says so and returns.
set -eu

OUT=${OUT:-build/quickstart}
PORT=${PORT:-9210}
CLUSTER=http://127.0.0.1:$PORT
INDEX=quickstart

say() { printf '\n== %s\n' "$1"; }

say "1/8 dataset: Korean and English package descriptions of this machine's Debian or Ubuntu"
if command -v apt-get >/dev/null && [ -x /usr/lib/apt/apt-helper ]; then
  osparse corpus build --source debian --output "$OUT/dataset"
else
  echo "No apt here: using the small bilingual sample written for osparse; its figures say little."
  osparse corpus build --source jsonl examples/sample_corpus.jsonl --output "$OUT/dataset"
fi

say "2/8 tokenizer and query weights, from the training split only"
osparse corpus tokenizer "$OUT/dataset" --output "$OUT/tokenizer" --vocab-size 16000
osparse idf "$OUT/dataset" --tokenizer "$OUT/tokenizer" --output "$OUT/idf.json"

say "3/8 train a sparse encoder on the CPU"
RESUME=
if [ -e "$OUT/model.run/checkpoint" ] && [ ! -e "$OUT/model" ]; then
  RESUME=--resume # an earlier run of this script was interrupted here
fi
osparse train quickstart --dataset "$OUT/dataset" --output "$OUT/model" \
  --tokenizer "$OUT/tokenizer" --idf "$OUT/idf.json" $RESUME

say "4/8 package it for OpenSearch and check that the results equal the model's"
osparse package "$OUT/model" --output "$OUT/bundle" --name quickstart

say "5/8 start a real OpenSearch on $CLUSTER"
osparse node up --home "$OUT/node" --port "$PORT"

say "6/8 deploy the bundle and load the documents"
osparse deploy "$OUT/bundle" --cluster "$CLUSTER" --index "$INDEX"
osparse index --cluster "$CLUSTER" --index "$INDEX" "$OUT/dataset"

say "7/8 search"
for text in "동영상 편집기" "파이썬 웹 프레임워크" "네트워크 패킷 분석 도구" \
  "play chess against the computer" "library for reading PDF files" "fonts for Korean text"; do
  osparse search --cluster "$CLUSTER" --index "$INDEX" --top 3 --explain "$text"
done

say "8/8 measure it on the held-back test queries, beside BM25 with OpenSearch's own analyzers"
osparse evaluate --dataset "$OUT/dataset" --split test --cluster "$CLUSTER" --index "$INDEX" --baseline bm25 \
  --output "$OUT/report.json"

say "done: the node runs on; stop it with: osparse node down --home $OUT/node"

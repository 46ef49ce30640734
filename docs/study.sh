#!/usr/bin/env bash
# Every training of docs/results.md, JOBS at once. What is done is not done again; what was cut off goes on.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
PYTHON=${PYTHON:-.venv/bin/python}

$PYTHON -m ctsr.phantom phantom-data/study --seed 0 --clinical 6 --micro 7 --paired 10      # to learn on; pairs: the ceiling's
$PYTHON -m ctsr.phantom phantom-data/study-test --seed 1 --clinical 0 --micro 10 --paired 20 --empty 2

train() {  # name, then keys
    local folder=outputs/study/$1
    [ -f "$folder/summary.json" ] && return
    mkdir -p "$folder"
    "$PYTHON" train.py experiment=study hydra.run.dir="$folder" resume=auto trainer.enable_progress_bar=false "${@:2}" \
        >>"$folder/log.txt" 2>&1
}
export -f train
export PYTHON

runs() { xargs -P "${JOBS:-2}" -I {} bash -c 'train {}'; }

runs <<SEEDS
scanner_0 stage=all method=scanner seed=0
paper_0 stage=all seed=0
sr_cyclegan_0 method=sr_cyclegan trainer.limit_train_batches=100 seed=0
quantiles_0 method=quantiles sr.epochs=7 seed=0 sr.optimizer.lr=1e-3
ceiling_0 method=ceiling sr.epochs=7 seed=0
scanner_1 stage=all method=scanner seed=1
sr_cyclegan_1 method=sr_cyclegan trainer.limit_train_batches=100 seed=1
fx_0 method=fx sr.epochs=7 seed=0 sr.optimizer.lr=1e-3
fx_1 method=fx sr.epochs=7 seed=1 sr.optimizer.lr=1e-3
scanner_2 stage=all method=scanner seed=2
sr_cyclegan_2 method=sr_cyclegan trainer.limit_train_batches=100 seed=2
fx_2 method=fx sr.epochs=7 seed=2 sr.optimizer.lr=1e-3
scanner_no_ssim_0 stage=all method=scanner loss.lambda1=0 loss.lambda2=0 name=scanner_no_ssim seed=0
l2_0 method=l2 seed=0 synth_ckpt=outputs/study/scanner_0/synth/checkpoints/last.ckpt
SEEDS

runs <<LEARNING_RATES
fx_0_lr2e-3 method=fx sr.epochs=7 seed=0
quantiles_0_lr2e-3 method=quantiles sr.epochs=7 seed=0
ceiling_0_lr1e-3 method=ceiling sr.epochs=7 seed=0 sr.optimizer.lr=1e-3
sr_cyclegan_0_lr2e-3 method=sr_cyclegan trainer.limit_train_batches=100 seed=0 sr_cyclegan.optimizer.lr=2e-3
LEARNING_RATES

# What the SSIM term of eq. (2) does to the paper's G1.
"$PYTHON" train.py -m stage=synth experiment=study loss.lambda1=0,0.5,5 seed=0,1,2 trainer.enable_progress_bar=false \
    resume=auto hydra.sweep.dir=outputs/sweeps/lambda1 hydra/launcher=joblib hydra.launcher.n_jobs="${JOBS:-2}"

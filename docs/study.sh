#!/usr/bin/env bash
# Every training of docs/results.md, JOBS at once, in this order, and what they are asked. What is done is not done again;
# what was cut off goes on. `docs/study.sh left` only prints what is left.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
export PYTHON=${PYTHON:-.venv/bin/python} RUNS=outputs/study
IN_PLACE="stage=all method=paper_in_place" SCANNER="stage=all method=scanner" G1_OF_0=$RUNS/scanner_0/synth/checkpoints/last.ckpt

trainings=$(
    cat <<LIST
scanner_0 $SCANNER seed=0
paper_in_place_0 $IN_PLACE seed=0
paper_in_place_1 $IN_PLACE seed=1
scanner_1 $SCANNER seed=1
paper_in_place_2 $IN_PLACE seed=2
scanner_2 $SCANNER seed=2
paper_0 stage=all networks.DS.spectral=false seed=0
paper_1 stage=all networks.DS.spectral=false seed=1
paper_2 stage=all networks.DS.spectral=false seed=2
fx_0 method=fx sr.epochs=15 sr.optimizer.lr=1e-3 seed=0
paper_in_place_no_ssim_0 $IN_PLACE loss.lambda1=0 loss.lambda2=0 name=paper_in_place_no_ssim seed=0
quantiles_0 method=quantiles sr.epochs=15 sr.optimizer.lr=1e-3 seed=0
ceiling_0 method=ceiling sr.epochs=15 seed=0
l2_0 method=l2 sr.epochs=15 seed=0 synth_ckpt=$G1_OF_0
scanner_no_warmup_0 stage=sr method=scanner loss.warmup=0 name=scanner_no_warmup seed=0 synth_ckpt=$G1_OF_0
scanner_no_average_0 stage=sr method=scanner sr.ema=null name=scanner_no_average seed=0 synth_ckpt=$G1_OF_0
scanner_cycle_10_0 $SCANNER loss.lambda_cycle=10 name=scanner_cycle_10 seed=0
sr_cyclegan_0 method=sr_cyclegan trainer.limit_train_batches=100 seed=0
LIST
)

left() {
    while read -r name keys; do
        [ -f "$RUNS/$name/summary.json" ] || echo "  $name: $keys"
    done <<<"$trainings"
}
tell_left() {
    local names
    names=$(left)
    if [ -n "$names" ]; then printf 'left to train, `make study` goes on:\n%s\n' "$names"; else echo "every training is done"; fi
}
[ "${1:-}" != left ] || { tell_left; exit; }
trap tell_left EXIT

$PYTHON -m ctsr.phantom phantom-data/study --seed 0 --clinical 6 --micro 7 --paired 10      # to learn on; pairs: the ceiling's
$PYTHON -m ctsr.phantom phantom-data/study-test --seed 1 --clinical 0 --micro 10 --paired 20 --empty 2

train() {  # name, then keys
    local folder=$RUNS/$1
    [ ! -f "$folder/summary.json" ] || return 0
    mkdir -p "$folder"
    "$PYTHON" train.py experiment=study hydra.run.dir="$folder" resume=auto trainer.enable_progress_bar=false "${@:2}" \
        >>"$folder/log.txt" 2>&1 || { echo "$1 failed: $(tail -n 1 "$folder/log.txt")" >&2; return 1; }
}
export -f train
xargs -P "${JOBS:-2}" -I {} bash -c 'train {}' <<<"$trainings"

# --- what they are asked: by the first scanner, by the second one, and after each epoch
of() { sed "s|^\([^ ]*\).*|$RUNS/\1$1|" <<<"$trainings"; }
networks=$(of /checkpoints/last.ckpt)
$PYTHON -m ctsr.phantom phantom-data/judging --scanner projections --set judging --lungs 20
kinds=$(cd phantom-data/judging/projections/lung_000 && ls | sed -n 's/\.nii\.gz$//p' | grep -vx 'micro\|labels')
$PYTHON docs/study_scores.py $RUNS/scores phantom-data/study-test paired $networks
xargs -P "${JOBS:-2}" -I {} $PYTHON docs/study_scores.py $RUNS/scores phantom-data/judging {} $networks <<<"$kinds"
$PYTHON docs/study_tables.py $RUNS/scores/*.csv >$RUNS/tables.md
$PYTHON docs/learning_curves.py $RUNS/learning_curves phantom-data/study/paired $(of "" | grep -v /ceiling_)    # the ceiling learned on these lungs

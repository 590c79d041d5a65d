#!/usr/bin/env bash
# Every step in one command: convert, train a small MT-Net, evaluate, export, serve, predict, report.
#   bash ci/quickstart.sh                      on a synthetic phantom that it draws
#   bash ci/quickstart.sh --dicom_root DIR     on LIDC-IDRI (too few scans to train on are predicted with a phantom's model)
# Converted scans and trained models are kept; the rest is done again. Everything is written to data/lidc and out/quickstart.
usage() { sed -n '2,5s/^# \{0,1\}//p' "$0"; }
bad() { echo "error: $*" >&2; exit 2; }
dicom_root=
while [ $# -gt 0 ]; do
    case "$1" in
        --dicom_root) [ $# -ge 2 ] || bad "--dicom_root needs a folder"; dicom_root=$2; shift 2 ;;
        --dicom_root=*) dicom_root=${1#*=}; shift ;;
        -h | --help) usage; exit 0 ;;
        *) bad "unknown argument $1 (bash ci/quickstart.sh [--dicom_root DIR])" ;;
    esac
    [ -n "$dicom_root" ] || bad "--dicom_root needs a folder"
    [ -d "$dicom_root" ] || bad "no such DICOM root: $dicom_root"
    dicom_root=$(realpath "$dicom_root")
done
source "$(dirname "$0")/environment.sh"
export PYTHONWARNINGS="ignore::UserWarning:monai.bundle.scripts"

dataset=data/lidc
phantom=data/phantom_dicom
out=out/quickstart
bundle=bundles/mtnet
mkdir -p "$out" data
started=$SECONDS

# A dataset made from another source than the requested one is renamed; nothing is deleted.
made_from() {
    if [ -f "$dataset.source" ]; then
        cat "$dataset.source"
    elif grep -q '"synthetic_scans": [1-9]' "$dataset/dataset.json" 2>/dev/null; then
        realpath -m "$phantom"
    else
        echo "${dicom_root:-DICOM}"
    fi
}
source_now=${dicom_root:-$(realpath -m "$phantom")}
if [ -d "$dataset" ] && [ "$(made_from)" != "$source_now" ]; then
    kept="$dataset.$(date +%Y%m%d-%H%M%S)"
    say "$dataset was made from $(made_from): kept as $kept"
    mv "$dataset" "$kept"
    [ ! -d "$out/model" ] || mv "$out/model" "$kept.model"
fi
echo "$source_now" > "$dataset.source"

convert() {
    say "2/7 convert to $2"
    python -m preprocessing convert --dicom_root "$1" --out "$2" --workers 2 || [ $? -eq 1 ]
}
train_on_phantom() {
    training_set=$1
    say "1/7 phantom: synthetic CT series with the geometry and contours of thirty LIDC-IDRI scans"
    python -m preprocessing phantom --out "$phantom" --patients default30 --workers 2
    convert "$phantom" "$1"
    python ci/check_folds.py --dataset "$1"
    small=(--width 0.125 --middle_blocks 1 --image_size 64 --max_epochs 30 --segmentation_batch_size 8 --classifier_batch_size 16)
}

training_set=$dataset
note=
small=(--width 0.25 --middle_blocks 4 --image_size 112 --max_epochs 30)
if [ "$source_now" = "$(realpath -m "$phantom")" ]; then
    note="The CT is a synthetic phantom: nothing here is a result."
    train_on_phantom "$dataset"
else
    say "1/7 DICOM: $dicom_root"
    convert "$dicom_root" "$dataset"
    if ! python ci/check_folds.py --dataset "$dataset"; then
        say "so a phantom trains the model, and a scan of $dicom_root is predicted with it"
        note="The model was trained on a synthetic phantom, as there are too few scans: its answers are not results."
        train_on_phantom data/phantom
    fi
fi

say "3/7 train a small MT-Net: coarse, then fine and class"
python -m monai.bundle run training --config_file $bundle/configs/train.json --dataset_dir "$training_set" \
    --output_dir "$out/model" --patch_mm 32.0 --learning_rate 0.001 "${small[@]}"

say "4/7 evaluate on the patients that it has not seen"
python -m monai.bundle run evaluating --config_file $bundle/configs/evaluate.json --dataset_dir "$training_set" \
    --output_dir "$out/model" --results_dir "$out/evaluation"

say "5/7 export to ONNX and fill two model repositories: the trained model, and the weights that ship"
python -m lung_nodule export --bundle $bundle --checkpoint "$out/model/model.pt" --repository "$out/repository"
for folder in bundles/*; do  # a bundle without weights: the model that was just trained takes part, if it is its own
    weights=$folder/models/model.pt
    [ -f "$weights" ] || weights=$([ "$folder" != $bundle ] || echo "$out/model/model.pt")
    [ -z "$weights" ] || python -m lung_nodule export --bundle "$folder" --checkpoint "$weights" \
        --repository "$out/shipped_repository"
done

unseen=()
[ "$training_set" != "$dataset" ] || unseen=(--predictions "$out/evaluation/predictions.csv")
read -r scan patient series < <(python ci/choose_scan.py --dataset "$dataset" "${unseen[@]}")

server=
stop_server() {
    trap - EXIT INT TERM
    [ -z "$server" ] || { kill -TERM "$server" 2>/dev/null && wait "$server" 2>/dev/null || true; }
    server=
}
# serve_and_predict REPOSITORY OUT NOTE
serve_and_predict() {
    local log=$2/serve.log url
    mkdir -p "$2"
    : > "$log"
    python -m lung_nodule serve --repository "$1" --http_port 0 --grpc_port 0 --metrics_port 0 \
        --log_file "$2/triton.log" > "$log" 2>&1 &
    server=$!
    trap stop_server EXIT
    trap 'stop_server; exit 130' INT TERM
    until grep -q "^ready: " "$log"; do
        kill -0 "$server" 2>/dev/null || fail "the server did not start: $(tail -n 1 "$log")"
        sleep 0.5
    done
    cat "$log"
    url=$(sed -n 's/^ready: gRPC \([^,]*\),.*/\1/p' "$log")
    python -m lung_nodule predict --url "$url" --ct "$dataset/$scan" --nodules "$dataset/nodules.csv" \
        --patient_id "$patient" --series_uid "$series" --out "$2" --note "$3"
    stop_server
}

say "6/7 serve the trained model with Triton and predict a scan that it has not seen"
serve_and_predict "$out/repository" "$out" "$note"

say "7/7 the same scan by the weights that ship, all methods together"
synthetic=
[ "$source_now" != "$(realpath -m "$phantom")" ] || synthetic="The CT is a synthetic phantom: nothing here is a result."
serve_and_predict "$out/shipped_repository" "$out/shipped" "$synthetic"

say "done in $(((SECONDS - started) / 60)) min $(((SECONDS - started) % 60)) s"
python ci/print_figures.py --out "$out"
echo "by the weights that ship: $out/shipped/report.html"

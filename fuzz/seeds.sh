#!/bin/sh
# Fills fuzz/corpus/TARGET with the small goldens of the repository that TARGET reads.
set -eu
cd "$(dirname "$0")/.."

# seeds TARGET NAME_PATTERN FOLDER...: every matching file, under a name that tells where it is from.
seeds() {
    target=$1 pattern=$2
    shift 2
    mkdir -p "fuzz/corpus/$target"
    find "$@" -type f -name "$pattern" -size -128k | while read -r file; do
        cp "$file" "fuzz/corpus/$target/$(echo "$file" | tr / _)"
    done
}

seeds nifti '*.nii*' crates/image-io/tests/golden crates/data/tests/golden/fingerprint
seeds nrrd '*.nrrd' crates/image-io/tests/golden
seeds metaimage '*.mha' crates/image-io/tests/golden
seeds picture '*.png' crates/image-io/tests/golden
seeds picture '*.bmp' crates/image-io/tests/golden
seeds picture '*.tif*' crates/image-io/tests/golden
seeds tiff '*.tif*' crates/image-io/tests/golden
seeds b2nd '*.b2nd' crates/image-io/tests/golden
seeds properties '*.pkl' crates/data/tests/golden crates/pyformats/tests/golden/pickle
seeds checkpoint '*.pth' crates/checkpoint/tests/golden
seeds checkpoint '*.pkl' crates/pyformats/tests/golden/pickle
unzip -qp crates/checkpoint/tests/golden/checkpoint/weights.pth weights/data.pkl >fuzz/corpus/checkpoint/weights.pkl
seeds safetensors '*.safetensors' crates/checkpoint/tests/golden
seeds dataset_json '*dataset*.json' crates/data/tests/golden
seeds plans_json '*plans*.json' crates/data/tests/golden
seeds probabilities '*.npz' crates/nnunet/tests/golden/selection/regions
seeds records '*.json' crates/data/tests/golden/fingerprint crates/nnunet/tests/golden/selection/expected
seeds records 'postprocessing.pkl' crates/nnunet/tests/golden/selection

# An archive of a model whose checkpoint is any file.
archive=$PWD/fuzz/corpus/model_archive/model.zip
folder=$(mktemp -d)
model=$folder/Dataset803_Small/nnUNetTrainer__nnUNetPlans__2d
mkdir -p "$model/fold_0" "${archive%/*}"
cp crates/data/tests/golden/plan/Dataset803_small/dataset.json "$model/dataset.json"
cp crates/data/tests/golden/plan/Dataset803_small/nnUNetPlans.json "$model/plans.json"
cp crates/checkpoint/tests/golden/checkpoint/batch_norm.pth "$model/fold_0/checkpoint_final.pth"
(cd "$folder" && zip -q0r "$archive.new" Dataset803_Small && mv "$archive.new" "$archive")
rm -r "$folder"

//! Two command lines for the end of each verb's help page.

use crate::flags::Example;

/// The examples of a verb; none of one that is not known here.
pub(crate) fn of(verb: &str) -> &'static [Example] {
    EXAMPLES.iter().find(|(known, _)| *known == verb).map_or(&[], |(_, examples)| examples)
}

/// Each verb with its command lines and what they do.
const EXAMPLES: &[(&str, [Example; 2])] = &[
    (
        "demo",
        [
            ("demo", "everything in ./nnunet-demo, a few minutes"),
            ("demo --short --out /tmp/demo", "half a minute, to see whether the program works here"),
        ],
    ),
    (
        "convert-msd",
        [
            ("convert-msd -i Task05_Prostate", "creates Dataset005_Prostate"),
            ("convert-msd -i Task05_Prostate -overwrite_id 105", "creates Dataset105_Prostate"),
        ],
    ),
    (
        "convert-v1",
        [
            ("convert-v1 Task005_Prostate Dataset005_Prostate", "a dataset of version 1 under a new name"),
            (
                "convert-v1 old/Task120_Spleen Dataset120_Spleen --raw /data/raw",
                "into another folder of raw datasets",
            ),
        ],
    ),
    (
        "merge-datasets",
        [
            ("merge-datasets abdomen.toml", "the datasets that the file names, in $nnUNet_raw"),
            ("merge-datasets abdomen.toml --raw /data/raw", "in another folder"),
        ],
    ),
    (
        "verify",
        [
            ("verify -d 4", "lists all faults of Dataset004_..."),
            ("verify -d 4 5 --repair", "repairs in two datasets what can be repaired safely"),
        ],
    ),
    (
        "fingerprint",
        [
            ("fingerprint -d 4", "reads all cases of Dataset004_... once"),
            (
                "fingerprint -d 4 --num-parts 4 --part-id 0",
                "the first of four machines that share the folders",
            ),
        ],
    ),
    (
        "plan",
        [
            ("plan -d 4", "writes nnUNetPlans.json"),
            (
                "plan -d 4 -pl nnUNetPlannerResEncL -gpu_memory_target 12",
                "plans a residual encoder for 12 GB of GPU memory",
            ),
        ],
    ),
    (
        "explain",
        [
            ("explain -d 4", "why the patch, the spacing and the network are what they are"),
            ("explain -d 4 -p nnUNetResEncUNetLPlans --json", "the same of other plans, for a program"),
        ],
    ),
    (
        "move-plans",
        [
            (
                "move-plans -s 4 -t 5 -sp nnUNetPlans -tp pretrain_plans",
                "dataset 5 gets the plans of dataset 4",
            ),
            ("move-plans -s 4 -t 5 -sp nnUNetPlans", "under the same name, in place of its own plans"),
        ],
    ),
    (
        "preprocess",
        [
            ("preprocess -d 4", "all configurations of nnUNetPlans"),
            ("preprocess -d 4 -plans_name my_plans -c 3d_fullres -np 4", "one configuration, with 4 threads"),
        ],
    ),
    (
        "plan-and-preprocess",
        [
            ("plan-and-preprocess -d 4 --verify_dataset_integrity", "everything that training needs"),
            (
                "plan-and-preprocess -d 4 -c 3d_fullres -pl nnUNetPlannerResEncM",
                "one configuration, another planner",
            ),
        ],
    ),
    (
        "trainers",
        [
            ("trainers", "a line for each trainer"),
            (
                "trainers nnUNetTrainerDA5 > my_recipe.toml",
                "a recipe to start from, for train -tr my_recipe.toml",
            ),
        ],
    ),
    (
        "train",
        [
            ("train 4 3d_fullres 0", "fold 0 of the full-resolution configuration"),
            ("train 4 3d_fullres 0 --epochs 250 --c", "continues a training of 250 epochs"),
        ],
    ),
    (
        "predict",
        [
            ("predict -i images -o segmentations -d 4 -c 3d_fullres", "all trained folds of a model by name"),
            (
                "predict -i a_0000.nii.gz -o out -m model_folder -f 0 --disable_tta",
                "one case, one fold, quickly",
            ),
        ],
    ),
    (
        "ensemble",
        [
            ("ensemble -i predictions_2d predictions_3d -o ensemble", "averages two models"),
            ("ensemble -i a b c -o mean --save_npz -np 2", "three models, with their mean probabilities"),
        ],
    ),
    (
        "evaluate",
        [
            (
                "evaluate labels predictions -djfile dataset.json -pfile plans.json",
                "the classes of a dataset",
            ),
            (
                "evaluate labels predictions -l 1 2 --metrics hd95,nsd@2 --tsv table.tsv",
                "two labels, more metrics, a table",
            ),
        ],
    ),
    (
        "accumulate-crossval-results",
        [
            ("accumulate-crossval-results 4 -c 3d_fullres", "all five folds"),
            ("accumulate-crossval-results 4 -c 2d -f 0 1 -o results", "two folds, into another folder"),
        ],
    ),
    (
        "find-best-configuration",
        [
            ("find-best-configuration 4", "all configurations that the plans have"),
            ("find-best-configuration 4 -c 2d 3d_fullres --disable_ensembling", "single models only"),
        ],
    ),
    (
        "determine-postprocessing",
        [
            ("determine-postprocessing -i predictions -ref labels", "writes predictions/postprocessing.pkl"),
            (
                "determine-postprocessing -i predictions -ref labels -plans_json plans.json -dataset_json dataset.json",
                "predictions without these files next to them",
            ),
        ],
    ),
    (
        "apply-postprocessing",
        [
            (
                "apply-postprocessing -i predictions -o final -pp_pkl_file postprocessing.pkl",
                "to every segmentation",
            ),
            (
                "apply-postprocessing -i predictions -o final -pp_pkl_file postprocessing.json -np 2",
                "with 2 threads",
            ),
        ],
    ),
    (
        "overlay",
        [
            ("overlay -d 4 -o pictures", "preprocessed cases, as the network sees them"),
            ("overlay -d 4 -o pictures --use_raw -channel_idx 1", "the second channel of the raw images"),
        ],
    ),
    (
        "models",
        [
            ("models", "what is in $nnUNet_results"),
            ("models --results /data/models", "another folder of models"),
        ],
    ),
    (
        "install-model",
        [
            ("install-model model.zip", "an archive of export-model or the Python nnU-Net"),
            ("install-model https://example.org/model.zip --sha256 0123abcd", "a download that is checked"),
        ],
    ),
    (
        "export-model",
        [
            ("export-model -d 4 -o model.zip", "all configurations and folds"),
            ("export-model -d 4 -o model.zip -c 3d_fullres -f 0", "one fold of one configuration"),
        ],
    ),
    (
        "compare",
        [
            ("compare 4", "all trained models of Dataset004_..."),
            ("compare 4 --baseline nnUNetTrainerDA5 --tsv", "against another baseline, as a table"),
        ],
    ),
    (
        "federated",
        [
            (
                "federated round from_server to_server --site lisbon -d 4",
                "trains a round at a site from the weights in from_server",
            ),
            (
                "federated simulate federation.toml study -d 4 --at-once 2",
                "deals out the patients of Dataset004_... and runs all sites here",
            ),
        ],
    ),
    (
        "experiment",
        [
            ("experiment losses.toml --dry-run", "what would be trained"),
            ("experiment losses.toml", "trains what is missing and compares"),
        ],
    ),
    (
        "report",
        [
            ("report dataset -d 4", "a page on Dataset004_... and its plans"),
            ("report evaluation predictions/summary.json -o report.html", "a page on an evaluation"),
        ],
    ),
    (
        "submit",
        [
            ("submit 4 --slurm --partition gpu --time 24:00:00", "the whole method as jobs of a cluster"),
            ("submit 4 --local 2 -c 3d_fullres", "here, two jobs at once"),
        ],
    ),
    (
        "predict-best",
        [
            ("predict-best 4 -i images -o segmentations", "with what find-best-configuration has chosen"),
            ("predict-best Dataset004_Hippocampus -i images -o out --threads 4", "with 4 threads"),
        ],
    ),
    (
        "doctor",
        [
            ("doctor", "what this machine offers, and what is missing or slow"),
            ("doctor --json > machine.json", "the same for a program or a report"),
        ],
    ),
    ("devices", [("devices", "what -device takes here"), ("devices --json", "the same for a program")]),
    (
        "completions",
        [
            (
                "completions bash > ~/.local/share/bash-completion/completions/nnunet",
                "for bash, from the next shell on",
            ),
            ("completions fish > ~/.config/fish/completions/nnunet.fish", "for fish"),
        ],
    ),
    (
        "man",
        [
            ("man | man -l -", "reads the page of the program"),
            ("man --out ~/.local/share/man/man1", "installs the pages of all verbs"),
        ],
    ),
    (
        "install-links",
        [
            ("install-links ~/.local/bin", "nnUNetv2_predict and the others"),
            ("install-links slicer/bin", "for the 3D Slicer extension"),
        ],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::ENTRIES;
    use crate::flags::parse;

    #[test]
    fn every_verb_has_examples_that_its_flags_take() {
        for entry in ENTRIES {
            let examples = of(entry.spec.verb);
            assert_eq!(examples.len(), 2, "{}", entry.spec.verb);
            for (line, _) in examples {
                let line = line.split(['>', '|']).next().unwrap_or_default();
                let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
                assert_eq!(words[0], entry.spec.verb);
                let matches = parse(&entry.spec, &words[1..]).unwrap_or_else(|e| panic!("{line}: {e}"));
                for flag in
                    entry.spec.all_flags().filter(|flag| flag.usage.is_some_and(|u| !u.starts_with('(')))
                {
                    assert!(matches.has(flag.key()), "{line}: {} has to be given", flag.key());
                }
            }
        }
        for (verb, _) in EXAMPLES {
            assert!(ENTRIES.iter().any(|entry| entry.spec.verb == *verb), "{verb}");
        }
    }
}

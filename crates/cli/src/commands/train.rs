//! `train`: one fold of one configuration.

use nnunet::dataset::splits::Fold;
use nnunet::recipe::{EpochLog, ValidatedCheckpoint};
use nnunet::spelling::closest;
use nnunet::train::{Start, TrainRequest};
use nnunet::{Phases, TrainJob};

use super::Entry;
use super::network_flags::{NETWORK_FLAGS, RECOMPUTE, STEP_MAX_RAM, backend};
use crate::environment::{FOLDER_FLAGS, number_in, variable};
use crate::flags::{Command, Flag, Group, Matches, Positional};
use crate::messages::UsageError;
use crate::progress::PROGRESS_FLAGS;
use crate::session::{Session, THREAD_FLAGS};

const FLAGS: &[Flag] = &[
    Flag::one(
        &["-tr"],
        "TRAINER",
        "nnUNetTrainer (default), another name that nnunet trainers lists, or a recipe file (.toml, .json); \
         with --c, the name of the recipe is enough",
    ),
    Flag::one(&["-p"], "PLANS", "name of the plans (default: nnUNetPlans)").within(Group::Input),
    Flag::one(
        &["-pretrained_weights"],
        "FILE",
        "checkpoint or .safetensors file with the weights to start from, as far as they fit; segmentation \
         heads start from random weights",
    )
    .within(Group::Input),
    Flag::one(&["-num_gpus"], "N", "accepted for scripts; 1 is the only value in this build")
        .within(Group::Speed),
    Flag::switch(&["--npz"], "save the probabilities of the final validation too").within(Group::Output),
    Flag::switch(&["--c"], "continue an earlier run from its last checkpoint"),
    Flag::switch(&["--val"], "validate only, with the final checkpoint"),
    Flag::switch(&["--val_best"], "validate with the best checkpoint instead of the final one"),
    Flag::switch(&["--disable_checkpointing"], "write no checkpoints").within(Group::Output),
];

const OWN_FLAGS: &[Flag] = &[
    Flag::one(&["--epochs"], "N", "number of epochs; results go under the name nnUNetTrainer_Nepochs"),
    Flag::one(
        &["--iterations-per-epoch"],
        "N",
        "training iterations per epoch (default: 250); validation takes a fifth as many, at most 50",
    ),
    Flag::one(&["--batch-size"], "N", "patches per iteration, instead of the planned number"),
    Flag::one(&["--seed"], "N", "seed for weights, patches and augmentation (default: 0)"),
    RECOMPUTE,
    STEP_MAX_RAM,
    Flag::one(&["--save-every"], "N", "write checkpoint_latest.pth after every N epochs (default: 50)")
        .within(Group::Output),
    Flag::one(
        &["--save-minutes"],
        "N",
        "also write it when the last checkpoint is N minutes old, within an epoch if need be (default: 10)",
    )
    .within(Group::Output),
    Flag::one(
        &["--log"],
        "KINDS",
        "also record epochs for other programs: tensorboard (an event file), jsonl (epochs.jsonl), or both, \
         separated by a comma",
    )
    .within(Group::Output),
    Flag::one(
        &["--loader-threads"],
        "N",
        "threads that make batches (default: half of --threads, or $nnUNet_n_proc_DA); batches do not \
         depend on it",
    )
    .within(Group::Speed),
];

pub(super) const ENTRY: Entry = Entry {
    spec: Command {
        verb: "train",
        reference_names: &["nnUNetv2_train"],
        summary: "train one fold of a configuration and validate it",
        description: "Trains a fold, then predicts and evaluates its validation cases. Ctrl-C, SIGTERM and SIGUSR1 save \
                      the state; run the same command with --c to continue from there.",
        after_interruption: "rerun the command with --val to validate",
        positionals: &[
            Positional { name: "DATASET", help: "dataset by id or name" },
            Positional { name: "CONFIGURATION", help: "2d, 3d_fullres, 3d_lowres or one of your own plans" },
            Positional { name: "FOLD", help: "fold of the cross-validation: 0, 1, 2, 3, 4 or all" },
        ],
        flags: &[FLAGS, OWN_FLAGS, NETWORK_FLAGS, THREAD_FLAGS, FOLDER_FLAGS, PROGRESS_FLAGS],
    },
    run,
};

fn run(matches: &Matches, session: &Session) -> anyhow::Result<()> {
    let mut job = TrainJob::new(request(matches, session)?);
    if matches.has("--val") {
        job.phases = Phases::Validate;
    }
    if matches.has("--val_best") {
        job.validate = ValidatedCheckpoint::Best;
    }
    job.save_probabilities = matches.has("--npz");
    let trained = session.project.train(job, session.ctx())?;
    session.wrote(trained.folder.fold());
    if trained.summary.is_none() {
        let times = trained.folder.fold().join("benchmark_result.json");
        session.message(&format!("times are in {}", times.display()));
    }
    Ok(())
}

fn request(matches: &Matches, session: &Session) -> anyhow::Result<TrainRequest> {
    check_combinations(matches)?;
    let positive = "a number of at least 1";
    if let Some(gpus) = matches.parsed::<usize>("-num_gpus", positive)?
        && gpus != 1
    {
        let text = format!("argument -num_gpus: found {gpus}; this build trains on the CPU only");
        return Err(UsageError(text).into());
    }
    let dataset = session.project.dataset(matches.required("DATASET")?)?;
    let plans = matches.text("-p").unwrap_or("nnUNetPlans");
    let configuration = matches.required("CONFIGURATION")?;
    let trainer = matches.text("-tr").unwrap_or("nnUNetTrainer");
    let mut recipe = session.project.recipe(trainer, &dataset, plans, configuration)?;
    if let Some(epochs) = matches.at_least_one("--epochs")? {
        recipe = recipe.with_epochs(epochs);
    }
    if recipe.python_class != recipe.name {
        session.message(&format!(
            "the Python package has no {}: folders take this name, and checkpoints name {} for it to load",
            recipe.name, recipe.python_class
        ));
    }
    if let Some(iterations) = matches.at_least_one("--iterations-per-epoch")? {
        recipe = recipe.with_iterations(iterations);
    }
    if let Some(epochs) = matches.at_least_one("--save-every")? {
        recipe.save_every = epochs;
    }
    if let Some(minutes) = minutes(matches, "--save-minutes")? {
        recipe.save_minutes = minutes;
    }
    recipe.log = logs(matches, session, recipe.log)?;
    let loader_threads = match matches.at_least_one("--loader-threads")? {
        // In the reference, 0 is no process beside the one that trains.
        None => number_in("nnUNet_n_proc_DA")?.map(|threads| threads.max(1)),
        given => given,
    };
    recipe.loader_threads = loader_threads.or(recipe.loader_threads);
    let start = match (matches.has("--c"), matches.path("-pretrained_weights")) {
        (true, Some(_)) => {
            let text = "--c and -pretrained_weights exclude each other: a run either continues or starts from the beginning";
            return Err(UsageError(text.to_owned()).into());
        }
        (true, None) => Start::Resume,
        (false, Some(path)) => Start::Pretrained(path),
        (false, None) => Start::New,
    };
    Ok(TrainRequest {
        dataset,
        configuration: configuration.to_owned(),
        fold: matches.required("FOLD")?.parse::<Fold>().map_err(UsageError)?,
        plans: plans.to_owned(),
        recipe,
        batch_size: matches.at_least_one("--batch-size")?,
        seed: matches.parsed("--seed", "a whole number")?.unwrap_or(0),
        backend: backend(matches, session, matches.has("--recompute"))?,
        start,
        checkpointing: !matches.has("--disable_checkpointing"),
    })
}

/// Flags that contradict each other, which the reference refuses too; `--val` with starting weights it ignores.
fn check_combinations(matches: &Matches) -> Result<(), UsageError> {
    let pairs = [
        ("--val_best", "--disable_checkpointing", "there would be no best checkpoint of this training"),
        ("--c", "--val", "either the training continues, or only the validation runs"),
        ("--val", "-pretrained_weights", "a validation takes the weights of the training's checkpoint"),
    ];
    match pairs.iter().find(|(one, other, _)| matches.has(one) && matches.has(other)) {
        Some((one, other, why)) => Err(UsageError(format!("{one} and {other} exclude each other: {why}"))),
        None => Ok(()),
    }
}

/// What is recorded of epochs: what the flag says, else the recipe, and TensorBoard's file where the environment asks for W&B.
fn logs(matches: &Matches, session: &Session, of_recipe: Vec<EpochLog>) -> Result<Vec<EpochLog>, UsageError> {
    let mut logs = match matches.text("--log") {
        Some(words) => words.split(',').map(log).collect::<Result<_, _>>()?,
        None => of_recipe,
    };
    let wanted = variable("nnUNet_wandb_enabled");
    let wanted = wanted.is_some_and(|value| ["1", "true", "True"].contains(&value.as_str()));
    if wanted && !logs.contains(&EpochLog::TensorBoard) {
        session.warning(
            "nnUNet_wandb_enabled: nothing is sent to Weights & Biases; the epochs go to TensorBoard's event file in the \
             fold, which wandb sync uploads",
        );
        logs.push(EpochLog::TensorBoard);
    }
    Ok(logs)
}

fn log(word: &str) -> Result<EpochLog, UsageError> {
    EpochLog::from_word(word.trim()).ok_or_else(|| {
        let known = EpochLog::ALL.map(EpochLog::word);
        let meant = closest(word, known).map_or_else(String::new, |word| format!(" (did you mean {word}?)"));
        UsageError(format!("argument --log: found {word:?}, expected {}{meant}", known.join(", ")))
    })
}

fn minutes(matches: &Matches, key: &str) -> Result<Option<f64>, UsageError> {
    let expected = "a number above 0";
    match matches.parsed::<f64>(key, expected)? {
        Some(found) if !(found.is_finite() && found > 0.0) => {
            Err(UsageError(format!("argument {key}: found {found}, expected {expected}")))
        }
        given => Ok(given),
    }
}

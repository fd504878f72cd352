//! `federated`: the steps of a federation at a site and at the server, and a simulation of all of them.

use std::path::PathBuf;

use nnunet_federated::{
    Body, Key, Settings, SimulateJob, Simulated, Site, SiteScore, SiteValidation, aggregate, check_output,
    merge, simulate,
};

use super::Entry;
use super::network_flags::{NETWORK_FLAGS, RECOMPUTE, backend, network_arguments};
use crate::environment::FOLDER_FLAGS;
use crate::flags::{Command, Flag, Group, Matches, Positional};
use crate::messages::UsageError;
use crate::progress::PROGRESS_FLAGS;
use crate::session::{Session, THREAD_FLAGS};

const FLAGS: &[Flag] = &[
    Flag::one(
        &["--site"],
        "NAME",
        "name of this site in the settings; for fingerprint, plan, round and validate",
    )
    .within(Group::Input),
    Flag::one(
        &["-d"],
        "DATASET",
        "dataset of this site, by id or name; for simulate, one whose patients are dealt out to the sites",
    )
    .within(Group::Input),
    Flag::one(
        &["--settings"],
        "FILE",
        "settings that this site has agreed to; messages with others are refused",
    )
    .within(Group::Input),
    Flag::one(
        &["--key"],
        "FILE",
        "secret of at least 32 bytes that server and sites share; messages without its seal are refused",
    )
    .within(Group::Input),
    Flag::one(&["--at-once"], "N", "for simulate, sites that run at once (default: 1)").within(Group::Speed),
    RECOMPUTE,
];

pub(super) const ENTRY: Entry = Entry {
    spec: Command {
        verb: "federated",
        reference_names: &[],
        summary: "plan and train with other sites without sharing images",
        description: "One step of a federation. Server and sites exchange folders with JSON and safetensors; Flower, a \
                      shared folder or a script carries them. At a site, IN is the settings file or a message of the \
                      server: fingerprint describes the dataset, plan makes the plans that all sites make (then run \
                      preprocess), round trains, validate writes the final checkpoint and evaluates it. At the server, IN \
                      is a folder with a message of each site: merge is for fingerprints, plans and validations, \
                      aggregate averages weights. simulate runs all of it here, each site as a process: IN is the settings \
                      file, OUT a folder.",
        after_interruption: Command::RESUME,
        positionals: &[
            Positional {
                name: "ACTION",
                help: "fingerprint, merge, plan, round, aggregate, validate or simulate",
            },
            Positional {
                name: "IN",
                help: "settings file (.toml), message, or folder with a message of each site",
            },
            Positional { name: "OUT", help: "folder for the message; for simulate, for everything" },
        ],
        flags: &[FLAGS, NETWORK_FLAGS, THREAD_FLAGS, FOLDER_FLAGS, PROGRESS_FLAGS],
    },
    run,
};

/// Flags of the steps at a site.
const OF_A_SITE: [&str; 2] = ["--site", "--settings"];

fn run(matches: &Matches, session: &Session) -> anyhow::Result<()> {
    let (input, output) = (PathBuf::from(matches.required("IN")?), PathBuf::from(matches.required("OUT")?));
    let key = matches.path("--key").map(|path| Key::read(&path)).transpose()?;
    let action = matches.required("ACTION")?;
    if action != "simulate" && matches.has("--at-once") {
        return Err(UsageError("--at-once belongs to simulate".to_owned()).into());
    }
    // Before the work, which may take hours.
    if action != "simulate" {
        check_output(&output)?;
        if std::path::absolute(&input)? == std::path::absolute(&output)? {
            return Err(
                UsageError("IN and OUT are the same folder; name another one for OUT".to_owned()).into()
            );
        }
    }
    match action {
        "merge" => {
            refuse(matches, &[&OF_A_SITE[..], &["-d"]].concat(), action)?;
            let merged = merge(&input, &output, key.as_ref())?;
            session.message(&format!("{} sites: {}", merged.sites.len(), described(&merged.body)));
        }
        "aggregate" => {
            refuse(matches, &[&OF_A_SITE[..], &["-d"]].concat(), action)?;
            let aggregated = aggregate(&input, &output, key.as_ref())?;
            let global = &aggregated.global;
            for left in &global.left_out {
                session.warning(&format!(
                    "round {}: site {} is left out: {}",
                    global.round, left.site, left.why
                ));
            }
            let loss =
                aggregated.train_loss.map_or_else(String::new, |loss| format!(", training loss {loss:.4}"));
            session.message(&format!(
                "round {}: {} tensors of {} sites with {} training cases{loss}",
                global.round,
                aggregated.tensors,
                global.sites.len(),
                global.cases
            ));
        }
        "simulate" => {
            refuse(matches, &OF_A_SITE, action)?;
            simulated(matches, session, input, &output)?;
        }
        "fingerprint" | "plan" | "round" | "validate" => {
            let backend = backend(matches, session, matches.has("--recompute"))?;
            let project = session.project.clone().with_backend(backend);
            let site = Site {
                project: &project,
                name: needed(matches, "--site", action)?.to_owned(),
                dataset: project.dataset(needed(matches, "-d", action)?)?,
                key,
                agreed: matches.path("--settings").map(|path| Settings::read(&path)).transpose()?,
            };
            let ctx = session.ctx();
            match action {
                "fingerprint" => site.fingerprint(&input, &output, ctx)?,
                "plan" => site.plan(&input, &output, ctx)?,
                "round" => site.round(&input, &output, ctx)?,
                _ => site.validate(&input, &output, ctx)?,
            }
        }
        other => {
            let text = format!(
                "argument ACTION: found {other:?}, expected fingerprint, merge, plan, round, aggregate, validate or simulate"
            );
            return Err(UsageError(text).into());
        }
    }
    session.wrote(&output);
    Ok(())
}

fn simulated(
    matches: &Matches,
    session: &Session,
    settings: PathBuf,
    folder: &std::path::Path,
) -> anyhow::Result<()> {
    // The flags of the processes are checked before the first one starts.
    backend(matches, session, matches.has("--recompute"))?;
    let at_once = matches.at_least_one("--at-once")?.unwrap_or(1);
    let threads = (session.threads.get() / at_once).max(1);
    let job = SimulateJob {
        settings,
        folder: std::path::absolute(folder)?,
        dataset: matches.text("-d").map(|name| session.project.dataset(name)).transpose()?,
        program: std::env::current_exe()?,
        at_once,
        arguments: ["--threads", &threads.to_string(), "--progress", "plain"].map(str::to_owned).to_vec(),
        network_arguments: network_arguments(matches)?,
        key: matches.path("--key").map(std::path::absolute).transpose()?,
    };
    let Simulated { sites, all } = simulate(&session.project, &job, session.ctx())?;
    session.result("site\tvalidation cases\tDice");
    for SiteScore { site, validation } in &sites {
        session.result(&format!("{site}\t{}", scores(validation)));
    }
    session.result(&format!("all\t{}", scores(&all)));
    Ok(())
}

/// What the server has merged.
fn described(body: &Body) -> String {
    match body {
        Body::TotalSize(size) => format!("{} training cases", size.cases),
        Body::MergedFingerprint(merged) => {
            format!("one fingerprint of {} training cases", merged.dataset.cases)
        }
        Body::AgreedPlan(plan) => {
            format!("patch size {:?}, batch size {}", plan.patch_size, plan.batch_size)
        }
        Body::MergedValidation(validation) => {
            format!("Dice {} on {} validation cases", shown(validation.dice), validation.cases)
        }
        _ => String::new(),
    }
}

fn scores(validation: &SiteValidation) -> String {
    format!("{}\t{}", validation.cases, shown(validation.dice))
}

fn shown(dice: Option<f64>) -> String {
    dice.map_or_else(|| "none".to_owned(), |dice| format!("{dice:.4}"))
}

fn needed<'a>(matches: &'a Matches, flag: &str, action: &str) -> Result<&'a str, UsageError> {
    matches.text(flag).ok_or_else(|| UsageError(format!("{action} needs {flag}")))
}

fn refuse(matches: &Matches, flags: &[&str], action: &str) -> Result<(), UsageError> {
    match flags.iter().find(|flag| matches.has(flag)) {
        Some(flag) => Err(UsageError(format!("{flag} is of no use to {action}"))),
        None => Ok(()),
    }
}

//! The environment variables, read here and nowhere else; from here on they are values.

use std::path::PathBuf;

use anyhow::Context;
use nnunet::backend::{CpuLevel, TorchPlaces};

use crate::flags::{Flag, Group, Matches};
use crate::messages::UsageError;

/// One environment variable of the program.
pub(crate) struct Variable {
    /// Its name.
    pub(crate) name: &'static str,
    /// What it does.
    pub(crate) help: &'static str,
}

/// Every environment variable the program reads.
pub(crate) const VARIABLES: &[Variable] = &[
    Variable { name: "nnUNet_raw", help: "folder of the raw datasets; --raw wins over it" },
    Variable {
        name: "nnUNet_preprocessed",
        help: "folder of plans and preprocessed cases; --preprocessed wins over it",
    },
    Variable { name: "nnUNet_results", help: "folder of trained models; --results wins over it" },
    Variable { name: "nnUNet_def_n_proc", help: "default number of threads; -np and --threads win over it" },
    Variable {
        name: "nnUNet_n_proc_DA",
        help: "threads that make batches for a training; --loader-threads wins over it",
    },
    Variable { name: "nnUNet_npp", help: "cases that a prediction preprocesses at once; -npp wins over it" },
    Variable { name: "nnUNet_nps", help: "cases that a prediction exports at once; -nps wins over it" },
    Variable {
        name: "nnUNet_wandb_enabled",
        help: "1 makes a training write TensorBoard's event file, which wandb sync uploads; nothing is sent by itself",
    },
    Variable {
        name: "HTTPS_PROXY",
        help: "proxy for downloads of models; HTTP_PROXY, ALL_PROXY and NO_PROXY count too",
    },
    Variable {
        name: "SSL_CERT_FILE",
        help: "certificates (PEM) that downloads trust instead of Mozilla's, e.g. with those of a hospital's proxy",
    },
    Variable {
        name: "NNUNET_LIBTORCH",
        help: "folder of libtorch or of a Python environment with torch, for -device cuda and mps; --libtorch wins over it",
    },
    Variable { name: "VIRTUAL_ENV", help: "the active Python environment, where libtorch is looked for" },
    Variable {
        name: "CONDA_PREFIX",
        help: "the active conda environment, where libtorch is looked for next",
    },
    Variable {
        name: "NNUNET_CPU_LEVEL",
        help: "portable, avx2, avx512 or avx512bf16: lowers the instruction set that the kernels use, never raises it",
    },
];

/// A variable of nnU-Net that is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    /// Its name.
    pub(crate) name: String,
    /// Its value.
    pub(crate) value: String,
    /// Whether the program reads it; the Python nnU-Net has more of them.
    pub(crate) is_known: bool,
}

/// The variables that are set and either read by the program or named like those of nnU-Net, sorted by name.
pub(crate) fn settings() -> Vec<Setting> {
    settings_among(
        std::env::vars_os()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())),
    )
}

fn settings_among(variables: impl Iterator<Item = (String, String)>) -> Vec<Setting> {
    let mut found: Vec<Setting> = variables
        .map(|(name, value)| Setting { is_known: VARIABLES.iter().any(|v| v.name == name), name, value })
        .filter(|setting| setting.is_known || setting.name.to_lowercase().starts_with("nnunet"))
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

/// Flags of the three folders, for every verb that works in them.
pub(crate) const FOLDER_FLAGS: &[Flag] = &[
    Flag::one(&["--raw"], "DIR", "folder of the raw datasets (default: $nnUNet_raw)").within(Group::General),
    Flag::one(
        &["--preprocessed"],
        "DIR",
        "folder of plans and preprocessed cases (default: $nnUNet_preprocessed)",
    )
    .within(Group::General),
    Flag::one(&["--results"], "DIR", "folder of trained models (default: $nnUNet_results)")
        .within(Group::General),
];

/// The value of a variable, without the quotes that shells on Windows leave around it; `None` if empty.
pub(crate) fn variable(name: &str) -> Option<String> {
    unquoted(&std::env::var(name).ok()?)
}

/// The whole number in a variable; `None` if empty.
pub(crate) fn number_in(name: &str) -> Result<Option<usize>, UsageError> {
    let wrong = |text: &str| {
        UsageError(format!(
            "environment variable {name}: found {text:?}, expected a whole number of at least 0"
        ))
    };
    variable(name).map(|text| text.parse().map_err(|_| wrong(&text))).transpose()
}

/// The path in a variable, without quotes as in [`variable`]; `None` if empty. Names that are not valid UTF-8 are taken
/// as they are.
fn path_in(name: &str) -> Option<PathBuf> {
    match std::env::var_os(name)?.into_string() {
        Ok(text) => unquoted(&text).map(PathBuf::from),
        Err(bytes) => Some(PathBuf::from(bytes)),
    }
}

fn unquoted(value: &str) -> Option<String> {
    let value = value.trim().trim_matches(['"', '\'']).trim();
    (!value.is_empty()).then(|| value.to_owned())
}

/// The value of any variable, for the paths of cases that dataset.json lists.
pub(crate) fn path_variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// A folder from its flag, else from its variable.
pub(crate) fn folder(matches: &Matches, flag: &str, name: &str) -> Option<PathBuf> {
    matches.text(flag).map(|text| PathBuf::from(text.trim_matches(['"', '\'']))).or_else(|| path_in(name))
}

/// Where libtorch is looked for: the folder in the flag or in `NNUNET_LIBTORCH`, else the active Python environments, else that of
/// `python3`.
pub(crate) fn torch_places(matches: &Matches) -> TorchPlaces {
    let environment = |name: &str| path_in(name).map(|folder| (name.to_owned(), folder));
    TorchPlaces {
        asked_for: folder(matches, "--libtorch", "NNUNET_LIBTORCH"),
        environments: ["VIRTUAL_ENV", "CONDA_PREFIX"].into_iter().filter_map(environment).collect(),
        python: Some(if cfg!(windows) { "python" } else { "python3" }.into()),
    }
}

/// The machine's instruction set, lowered by `NNUNET_CPU_LEVEL`.
pub(crate) fn cpu_level() -> anyhow::Result<CpuLevel> {
    let detected = CpuLevel::detect();
    match variable("NNUNET_CPU_LEVEL") {
        None => Ok(detected),
        Some(name) => {
            let limit = CpuLevel::parse(&name).with_context(|| {
                let known = CpuLevel::ALL.map(CpuLevel::name).join(", ");
                format!("environment variable NNUNET_CPU_LEVEL: found {name:?}, expected one of {known}")
            })?;
            Ok(detected.min(limit))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_of_the_python_package_are_listed_as_ignored() {
        let set = [("nnUNet_raw", "/raw"), ("nnUNet_compile", "t"), ("HOME", "/root")];
        let found = settings_among(set.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter());
        let found: Vec<_> = found.iter().map(|setting| (setting.name.as_str(), setting.is_known)).collect();
        assert_eq!(found, [("nnUNet_compile", false), ("nnUNet_raw", true)]);
    }

    #[test]
    fn every_variable_is_explained() {
        assert!(VARIABLES.iter().all(|v| !v.name.is_empty() && v.help.len() > 10));
    }
}

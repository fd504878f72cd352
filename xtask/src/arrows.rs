//! The arrows between the crates: what each may depend on. The table in ARCHITECTURE.md, held against the manifests.

use std::collections::BTreeMap;
use std::process::Stdio;

use serde_json::Value;

use crate::cargo::cargo;

/// Each crate with the crates of this workspace that its code may use. Tests may use more.
const ARROWS: &[(&str, &[&str])] = &[
    ("nnunet-base", &[]),
    ("nnunet-kernels", &[]),
    ("nnunet-pyformats", &["nnunet-base"]),
    ("nnunet-volume", &["nnunet-base"]),
    ("nnunet-image-io", &["nnunet-base", "nnunet-volume"]),
    ("nnunet-graph", &["nnunet-base"]),
    ("nnunet-recipe", &["nnunet-base"]),
    ("nnunet-checkpoint", &["nnunet-base", "nnunet-graph", "nnunet-pyformats"]),
    ("nnunet-exec-cpu", &["nnunet-base", "nnunet-graph", "nnunet-kernels"]),
    ("nnunet-exec-torch", &["nnunet-base", "nnunet-exec-cpu", "nnunet-graph"]),
    ("nnunet-dataset", &["nnunet-base", "nnunet-image-io", "nnunet-pyformats", "nnunet-volume"]),
    (
        "nnunet-data",
        &[
            "nnunet-base",
            "nnunet-dataset",
            "nnunet-graph",
            "nnunet-image-io",
            "nnunet-pyformats",
            "nnunet-volume",
        ],
    ),
    ("nnunet-augment", &["nnunet-base", "nnunet-data", "nnunet-volume"]),
    (
        "nnunet-infer",
        &[
            "nnunet-base",
            "nnunet-checkpoint",
            "nnunet-data",
            "nnunet-dataset",
            "nnunet-graph",
            "nnunet-image-io",
            "nnunet-pyformats",
            "nnunet-recipe",
            "nnunet-volume",
        ],
    ),
    (
        "nnunet-assess",
        &[
            "nnunet-base",
            "nnunet-data",
            "nnunet-dataset",
            "nnunet-image-io",
            "nnunet-pyformats",
            "nnunet-volume",
        ],
    ),
    (
        "nnunet-train",
        &[
            "nnunet-assess",
            "nnunet-augment",
            "nnunet-base",
            "nnunet-checkpoint",
            "nnunet-data",
            "nnunet-dataset",
            "nnunet-graph",
            "nnunet-image-io",
            "nnunet-infer",
            "nnunet-pyformats",
            "nnunet-recipe",
            "nnunet-volume",
        ],
    ),
    (
        "nnunet-report",
        &[
            "nnunet-assess",
            "nnunet-base",
            "nnunet-data",
            "nnunet-dataset",
            "nnunet-infer",
            "nnunet-pyformats",
            "nnunet-train",
            "nnunet-volume",
        ],
    ),
    (
        "nnunet",
        &[
            "nnunet-assess",
            "nnunet-augment",
            "nnunet-base",
            "nnunet-checkpoint",
            "nnunet-data",
            "nnunet-dataset",
            "nnunet-exec-cpu",
            "nnunet-exec-torch",
            "nnunet-graph",
            "nnunet-image-io",
            "nnunet-infer",
            "nnunet-pyformats",
            "nnunet-recipe",
            "nnunet-report",
            "nnunet-train",
            "nnunet-volume",
        ],
    ),
    ("nnunet-federated", &["nnunet"]),
    ("nnunet-cli", &["nnunet", "nnunet-federated"]),
    ("own-parts", &["nnunet", "nnunet-cli"]),
    ("nnunet-capi", &["nnunet"]),
    ("nnunet-testkit", &["nnunet-base"]),
    ("xtask", &[]),
];

/// Compares the manifests of the workspace with [`ARROWS`].
///
/// # Errors
/// Every dependency that the table does not allow, and every crate that it does not know.
pub(crate) fn check() -> Result<(), String> {
    let mut command = cargo(&["metadata", "--locked", "--no-deps", "--format-version", "1"]);
    let output = command.stderr(Stdio::inherit()).output().map_err(|e| format!("cargo metadata: {e}"))?;
    let metadata: Value =
        serde_json::from_slice(&output.stdout).map_err(|e| format!("cargo metadata: {e}"))?;
    let faults = faults(&dependencies(&metadata), ARROWS);
    if faults.is_empty() { Ok(()) } else { Err(faults.join("\n       ")) }
}

/// The crates of the workspace with those that their code depends on.
fn dependencies(metadata: &Value) -> BTreeMap<String, Vec<String>> {
    let packages = || metadata["packages"].as_array().into_iter().flatten();
    let name = |value: &Value| value["name"].as_str().unwrap_or_default().to_owned();
    let members: Vec<String> = packages().map(name).collect();
    packages()
        .map(|package| {
            let all = package["dependencies"].as_array().into_iter().flatten();
            // Normal dependencies have no kind; those of tests and build scripts do.
            let used = all.filter(|dependency| dependency["kind"].is_null()).map(name);
            (name(package), used.filter(|dependency| members.contains(dependency)).collect())
        })
        .collect()
}

fn faults(found: &BTreeMap<String, Vec<String>>, arrows: &[(&str, &[&str])]) -> Vec<String> {
    let mut faults = Vec::new();
    for (package, used) in found {
        let Some((_, allowed)) = arrows.iter().find(|(name, _)| name == package) else {
            faults.push(format!(
                "{package} is not in the table of arrows (xtask/src/arrows.rs, ARCHITECTURE.md)"
            ));
            continue;
        };
        for dependency in used.iter().filter(|dependency| !allowed.contains(&dependency.as_str())) {
            faults.push(format!(
                "{package} may not use {dependency}: it may use {} (xtask/src/arrows.rs, ARCHITECTURE.md)",
                if allowed.is_empty() { "no other crate".to_owned() } else { allowed.join(", ") }
            ));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_arrow_that_points_back_is_a_fault() {
        let metadata = json!({"packages": [
            {"name": "low", "dependencies": [
                {"name": "high", "kind": null}, {"name": "serde", "kind": null}, {"name": "other", "kind": "dev"}
            ]},
            {"name": "high", "dependencies": [{"name": "low", "kind": null}]},
            {"name": "other", "dependencies": []},
        ]});
        let faults = faults(&dependencies(&metadata), &[("low", &[]), ("high", &["low"])]);
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(faults[0].starts_with("low may not use high: it may use no other crate"), "{faults:?}");
        assert!(faults[1].starts_with("other is not in the table"), "{faults:?}");
    }

    #[test]
    fn the_table_has_no_circle() {
        for (at, (name, allowed)) in ARROWS.iter().enumerate() {
            let before: Vec<&str> = ARROWS[..at].iter().map(|(name, _)| *name).collect();
            assert!(allowed.iter().all(|used| before.contains(used)), "{name} uses what comes after it");
        }
    }
}

//! Completion scripts, asked in the shells themselves where they are installed.

use std::process::Command;

use nnunet_testkit::skip::skip;

use super::common::{Place, text};

/// Whether the machine has the shell.
fn has(shell: &str) -> bool {
    let found = Command::new(shell).arg("--version").output().is_ok_and(|output| output.status.success());
    if !found {
        skip(&format!("{shell} is not installed"));
    }
    found
}

/// What bash offers after the words of `line`, the last of which is at the cursor.
fn bash(place: &Place, line: &str) -> Vec<String> {
    let script = "source ./nnunet.bash; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); _nnunet; printf '%s\\n' \
                  \"${COMPREPLY[@]}\"";
    let output = Command::new("bash")
        .args(["--noprofile", "--norc", "-c", script, "bash"])
        .args(line.split(' '))
        .current_dir(place.folder.path())
        .output()
        .unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{line}: {}", text(&output.stderr));
    text(&output.stdout).lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn bash_completes_verbs_flags_and_values() {
    let place = Place::new();
    std::fs::write(place.path("nnunet.bash"), place.succeed("completions bash")).unwrap();
    if !has("bash") {
        return;
    }
    assert_eq!(bash(&place, "nnunet verif"), ["verify"]);
    assert_eq!(bash(&place, "nnunet convert-"), ["convert-msd", "convert-v1"]);
    assert_eq!(bash(&place, "nnunet predict --disable_t"), ["--disable_tta"]);
    assert_eq!(bash(&place, "nnunet predict -device "), ["cuda", "mps", "cpu", "torch-cpu", "auto"]);
    assert_eq!(bash(&place, "nnunet train 4 3d_fullres 0 --precision b"), ["bf16"]);
    assert_eq!(bash(&place, "nnunet train 4 3d_fullres 0 -tr nnUNetTrainerDA5o"), ["nnUNetTrainerDA5ord0"]);
    assert_eq!(bash(&place, "nnunet predict --progress s"), ["slicer"]);
    assert_eq!(bash(&place, "nnunet train 4 3d_f"), ["3d_fullres"]);
    // Several values behind one flag, and negative numbers, which are no flags.
    assert_eq!(bash(&place, "nnunet predict -f 0 1 a"), ["all"]);
    assert_eq!(bash(&place, "nnunet predict -f -1 a"), ["all"]);
    assert!(bash(&place, "nnunet predict -step_size 0.5 x").is_empty());
    // Files and folders, also with a blank.
    std::fs::create_dir(place.path("my images")).unwrap();
    assert_eq!(bash(&place, "nnunet predict -o my"), ["my images"]);
    assert!(bash(&place, "nnunet predict -o nnunet.b").is_empty(), "a folder is wanted");
    assert_eq!(bash(&place, "nnunet predict -i nnunet.b"), ["nnunet.bash"]);
    // Links.
    assert_eq!(bash(&place, "nnUNetv2_predict --save_p"), ["--save_probabilities"]);
    assert_eq!(bash(&place, "/usr/bin/nnUNetv2_train 4 2d"), ["2d"]);
    assert_eq!(bash(&place, "nnunet nnUNetv2_train --pre"), ["--precision", "--preprocessed"]);
}

#[test]
fn fish_completes_verbs_flags_and_values() {
    let place = Place::new();
    std::fs::write(place.path("nnunet.fish"), place.succeed("completions fish")).unwrap();
    if !has("fish") {
        return;
    }
    let offered = |line: &str| {
        let script = format!("source nnunet.fish; complete -C '{line}'");
        let output = Command::new("fish")
            .args(["--no-config", "-c", &script])
            .current_dir(place.folder.path())
            .env("HOME", place.folder.path())
            .output()
            .unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{line}: {}", text(&output.stderr));
        let lines = text(&output.stdout);
        lines.lines().map(|line| line.split('\t').next().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(offered("nnunet verif"), ["verify"]);
    assert_eq!(offered("nnunet predict --disable_t"), ["--disable_tta"]);
    let mut devices = offered("nnunet predict -device ");
    devices.sort();
    assert_eq!(devices, ["auto", "cpu", "cuda", "mps", "torch-cpu"]);
    assert_eq!(offered("nnUNetv2_train 4 3d_f"), ["3d_fullres"]);
}

#[test]
fn zsh_takes_the_script() {
    let place = Place::new();
    std::fs::write(place.path("_nnunet"), place.succeed("completions zsh")).unwrap();
    if !has("zsh") {
        return;
    }
    // Completion needs a line editor; `_describe` and `compadd` are replaced by what prints the words.
    let script = "autoload -Uz compinit; compinit -u -d ./dump; source ./_nnunet; \
                  _describe() { print -l -- ${${(P)${@[-1]}}%%:*} }; compadd() { shift; print -l -- $@ }; \
                  words=($@); CURRENT=$#; PREFIX=${words[-1]}; _nnunet";
    let offered = |line: &str| {
        let output = Command::new("zsh")
            .args(["--no-rcs", "-c", script, "zsh"])
            .args(line.split(' '))
            .current_dir(place.folder.path())
            .output()
            .unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{line}: {}", text(&output.stderr));
        text(&output.stdout).lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(offered("nnunet pred").contains(&"predict".to_owned()));
    assert!(offered("nnunet predict --dis").contains(&"--disable_tta".to_owned()));
    assert_eq!(offered("nnunet predict -device c"), ["cuda", "mps", "cpu", "torch-cpu", "auto"]);
    assert_eq!(offered("nnUNetv2_train 4 3d_f")[0], "2d");
}

#[test]
fn powershell_takes_the_script() {
    let place = Place::new();
    std::fs::write(place.path("nnunet.ps1"), place.succeed("completions powershell")).unwrap();
    if !has("pwsh") {
        return;
    }
    let offered = |line: &str| {
        let script = format!(
            ". ./nnunet.ps1; (TabExpansion2 -inputScript '{line}' -cursorColumn {}).CompletionMatches.CompletionText",
            line.len()
        );
        let output = Command::new("pwsh")
            .args(["-NoProfile", "-Command", &script])
            .current_dir(place.folder.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{line}: {}", text(&output.stderr));
        text(&output.stdout).lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(offered("nnunet verif"), ["verify"]);
    assert_eq!(offered("nnunet predict --disable_t"), ["--disable_tta"]);
    assert_eq!(offered("nnunet predict -device a"), ["auto"]);
}

#[test]
fn an_unknown_shell_is_wrong_usage() {
    let output = Place::new().run("completions tcsh");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("expected one of bash, zsh, fish, powershell"));
}

//! The script for zsh.

use super::{Completions, Values, link_cases, short, value_cases};

/// Finds the verb and the flag before the cursor; the cases behind it decide.
const BEGINNING: &str = r#"_nnunet() {
    local verb=${words[1]:t} flag= i
    local -i first=2
    local -a offered
    if [[ $verb != nnUNetv2_* ]]; then
        if (( CURRENT == 2 )); then
            offered=(
"#;

const MIDDLE: &str = r#"            )
            _describe verb offered
            return
        fi
        verb=${words[2]}
        first=3
    fi
    for (( i = CURRENT - 1; i >= first; i-- )); do
        case ${words[i]} in
            -[0-9.]*) ;;
            -*) flag=${words[i]}; break ;;
        esac
    done
"#;

/// The script, to be put into a folder of `$fpath` as `_nnunet`, or read with `source`.
pub(super) fn script(completions: &Completions<'_>) -> String {
    let names: Vec<&str> = completions.links().map(|(name, _)| name).collect();
    let names = names.join(" ");
    let mut text = format!(
        "#compdef nnunet {names}\n# Completion of nnunet for zsh, written by `nnunet completions zsh`.\n{BEGINNING}"
    );
    for command in completions.commands {
        text.push_str(&format!("                {}\n", quoted(command.verb, command.summary)));
    }
    text.push_str(MIDDLE);
    text.push_str("    case $verb in\n");
    text.push_str(&link_cases(completions));
    text.push_str("    esac\n    if [[ $PREFIX == -* ]]; then\n        case $verb in\n");
    for command in completions.commands {
        text.push_str(&format!("            {}) offered=(\n", command.verb));
        for flag in command.all_flags() {
            for name in flag.names {
                text.push_str(&format!("                {}\n", quoted(name, short(flag.help))));
            }
        }
        text.push_str(&format!(
            "                {}\n            ) ;;\n",
            quoted("--help", "show the help page")
        ));
    }
    text.push_str("        esac\n        _describe -o option offered\n        return\n    fi\n");
    text.push_str("    case $verb:$flag:$(( CURRENT - i )) in\n");
    text.push_str(&value_cases(completions, action));
    text.push_str("    esac\n}\n");
    // In a folder of $fpath the file is the function's body; read with `source` it registers the function.
    text.push_str(&format!(
        "if [[ $funcstack[1] == _nnunet ]]; then\n    _nnunet \"$@\"\nelse\n    compdef _nnunet nnunet {names}\nfi\n"
    ));
    text
}

/// A word with its description for `_describe`.
fn quoted(word: &str, description: &str) -> String {
    format!("'{word}:{}'", description.replace('\'', "'\\''"))
}

/// What offers the values.
fn action(values: &Values) -> String {
    match values {
        Values::Files => "_files".to_owned(),
        Values::Folders => "_files -/".to_owned(),
        Values::Words(words) => format!("compadd -- {}", words.join(" ")),
        Values::Unknown => ":".to_owned(),
    }
}

//! The script for bash, 3.2 and later.

use super::{Completions, Values, link_cases, spellings, value_cases};

/// Finds the verb and the flag before the cursor; the cases behind it decide.
const BEGINNING: &str = r#"# Completion of nnunet for bash, written by `nnunet completions bash`.
_nnunet_words() { COMPREPLY=($(compgen -W "$1" -- "$cur")); }
_nnunet_paths() {
    local IFS=$'\n'
    compopt -o filenames 2>/dev/null
    COMPREPLY=($(compgen "$1" -- "$cur"))
}
_nnunet() {
    local cur=${COMP_WORDS[COMP_CWORD]} verb= flag= first=1 i
    COMPREPLY=()
    verb=${COMP_WORDS[0]##*/}
    case $verb in
        nnUNetv2_*) ;;
        *)
            if ((COMP_CWORD == 1)); then
                _nnunet_words "$_nnunet_verbs --help --version"
                return
            fi
            verb=${COMP_WORDS[1]}
            first=2
            ;;
    esac
"#;

/// Looks for the flag whose values stand at the cursor, and how far away it is.
const MIDDLE: &str = r#"    for ((i = COMP_CWORD - 1; i >= first; i--)); do
        case ${COMP_WORDS[i]} in
            -[0-9.]*) ;;
            -*) flag=${COMP_WORDS[i]}; break ;;
        esac
    done
"#;

/// The script.
pub(super) fn script(completions: &Completions<'_>) -> String {
    let verbs: Vec<&str> = completions.commands.iter().map(|command| command.verb).collect();
    let mut text = format!("{BEGINNING}    case $verb in\n");
    text.push_str(&link_cases(completions));
    text.push_str("    esac\n");
    text.push_str(MIDDLE);
    text.push_str("    case $cur in\n        -*)\n            case $verb in\n");
    for command in completions.commands {
        let flags: Vec<&str> = spellings(command).collect();
        text.push_str(&format!(
            "                {}) _nnunet_words \"{}\" ;;\n",
            command.verb,
            flags.join(" ")
        ));
    }
    text.push_str("            esac\n            return\n            ;;\n    esac\n");
    text.push_str("    case $verb:$flag:$((COMP_CWORD - i)) in\n");
    text.push_str(&value_cases(completions, action));
    text.push_str("    esac\n}\n");
    text.push_str(&format!("_nnunet_verbs=\"{}\"\n", verbs.join(" ")));
    let names: Vec<&str> = completions.links().map(|(name, _)| name).collect();
    text.push_str(&format!("complete -F _nnunet nnunet {}\n", names.join(" ")));
    text
}

/// What offers the values.
fn action(values: &Values) -> String {
    match values {
        Values::Files => "_nnunet_paths -f".to_owned(),
        Values::Folders => "_nnunet_paths -d".to_owned(),
        Values::Words(words) => format!("_nnunet_words \"{}\"", words.join(" ")),
        Values::Unknown => ":".to_owned(),
    }
}

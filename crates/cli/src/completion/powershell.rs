//! The script for PowerShell.

use super::{Completions, Values, short, valued};

/// Finds the verb and the flag before the cursor in the tables above it.
const END: &str = r#"Register-ArgumentCompleter -Native -CommandName nnunet -ScriptBlock {
    param($word, $ast, $position)
    $words = @($ast.CommandElements | Where-Object { $_.Extent.EndOffset -lt $position } | ForEach-Object { "$_" })
    $offer = { param($text, $tip) [System.Management.Automation.CompletionResult]::new($text, $text, 'ParameterValue', $tip) }
    if ($words.Count -le 1) {
        $nnunetVerbs.GetEnumerator() | Where-Object { $_.Key -like "$word*" } | Sort-Object Key |
            ForEach-Object { & $offer $_.Key $_.Value }
        return
    }
    $verb = $words[1]
    if ($word -like '-*') {
        $nnunetFlags[$verb].GetEnumerator() | Where-Object { $_.Key -clike "$word*" } | Sort-Object Key |
            ForEach-Object { & $offer $_.Key $_.Value }
        return
    }
    $flag = $words | Select-Object -Skip 2 | Where-Object { $_ -match '^-\D' } | Select-Object -Last 1
    $nnunetValues["$verb $flag"] | Where-Object { $_ -like "$word*" } | ForEach-Object { & $offer $_ $_ }
}
"#;

/// The script. Where nothing is offered, PowerShell completes names of files by itself.
pub(super) fn script(completions: &Completions<'_>) -> String {
    let mut text =
        "# Completion of nnunet for PowerShell, written by `nnunet completions powershell`.\n$nnunetVerbs = @{\n".to_owned();
    for command in completions.commands {
        text.push_str(&format!("    {} = {}\n", quoted(command.verb), quoted(command.summary)));
    }
    text.push_str("}\n# Names differ by case, which the literals of hash tables do not tell apart.\n$nnunetFlags = @{}\n");
    for command in completions.commands {
        let verb = quoted(command.verb);
        text.push_str(&format!("$nnunetFlags[{verb}] = [System.Collections.Hashtable]::new()\n"));
        for flag in command.all_flags() {
            for name in flag.names {
                let (name, help) = (quoted(name), quoted(short(flag.help)));
                text.push_str(&format!("$nnunetFlags[{verb}][{name}] = {help}\n"));
            }
        }
        text.push_str(&format!("$nnunetFlags[{verb}]['--help'] = 'show the help page'\n"));
    }
    text.push_str("$nnunetValues = [System.Collections.Hashtable]::new()\n");
    for command in completions.commands {
        for (flag, values) in valued(completions, command) {
            let Values::Words(words) = values else { continue };
            for name in flag.names {
                text.push_str(&assignment(&format!("{} {name}", command.verb), &words));
            }
        }
        if let Values::Words(words) = completions.of_positionals(command) {
            text.push_str(&assignment(&format!("{} ", command.verb), &words));
        }
    }
    text.push_str(END);
    text
}

fn assignment(key: &str, words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    format!("$nnunetValues[{}] = @({})\n", quoted(key), words.join(", "))
}

/// A string of PowerShell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

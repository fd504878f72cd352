//! The `nnunet` program.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    nnunet_cli::Program::new().run()
}

//! What every other crate stands on: files that appear whole or not at all, progress events and cancellation,
//! workers within a memory budget, parts that are chosen by name, and suggestions for misspelt names.
//!
//! Knows neither images nor networks nor nnU-Net.
#![forbid(unsafe_code)]

pub mod ctx;
pub mod file_system;
pub mod files;
pub mod hint;
pub mod lock;
pub mod memory;
pub mod one_case;
pub mod parts;
pub mod progress;
pub mod spelling;
pub mod workers;

pub use ctx::Ctx;
pub use hint::Hint;
pub use lock::FolderInUse;
pub use memory::MemoryLimitError;
pub use one_case::Panicked;

//! Files and folders that appear whole or not at all, and checks that an output can be written.

mod atomic;
mod destination;
mod listing;
mod name;
mod stop_at_error;
mod with_parents;
mod writable;

pub use atomic::write_atomically;
pub use destination::follow_links;
pub use listing::folders_in;
pub use name::{temporary_name, temporary_stem};
pub use stop_at_error::StopAtError;
pub use with_parents::{TemporaryFolder, write_atomic, write_atomic_with};
pub use writable::{ensure_writable_file, ensure_writable_folder};

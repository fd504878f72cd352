//! Names and documents that are no recipes.

use std::path::PathBuf;

use nnunet_base::parts::{OptionError, UnknownName};

/// The name is not one of the trainers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "trainer {name:?} is not known{suggestion}; known: {listed}, each also with another number of epochs, e.g. \
     nnUNetTrainer_Nepochs for a number N",
    suggestion = closest.as_ref().map_or_else(String::new, |name| format!(" (did you mean {name}?)")),
    listed = listed(known)
)]
pub struct UnknownTrainer {
    /// The name as given.
    pub name: String,
    /// The known name that it resembles most, if it does.
    pub closest: Option<String>,
    /// All known names, closest first.
    pub known: Vec<String>,
}

/// Names that a message lists before it counts the others.
const LISTED: usize = 6;

fn listed(known: &[String]) -> String {
    let shown = known.iter().take(LISTED).map(String::as_str).collect::<Vec<_>>().join(", ");
    match known.len().saturating_sub(LISTED) {
        0 => shown,
        others => format!("{shown} and {others} others"),
    }
}

impl From<UnknownName> for UnknownTrainer {
    fn from(UnknownName { name, closest, known, .. }: UnknownName) -> Self {
        Self { name, closest, known }
    }
}

/// A document that is no recipe.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecipeError {
    /// The file cannot be read.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The text is neither TOML nor JSON.
    #[error("not a recipe: {problem}")]
    Syntax {
        /// Where, and what was expected.
        problem: String,
    },
    /// A key that recipes do not have, or a value that it cannot have.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// The recipe is based on one that does not exist.
    #[error("base: {0}")]
    Base(UnknownTrainer),
    /// A name that cannot be part of a folder's name.
    #[error(
        "recipe name {found:?}: expected letters, digits, - . and single _, as in my_recipe; set name in the file"
    )]
    Name {
        /// The name.
        found: String,
    },
    /// An error of the recipe in a file.
    #[error("{path}: {source}", path = path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        source: Box<RecipeError>,
    },
}

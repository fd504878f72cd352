//! Reports: a dataset, an evaluation, a training or a comparison as one HTML page that opens offline.
//!
//! A page holds everything it shows: figures are inline SVG with text as text, pictures are PNG in `data:` URLs, and a
//! content security policy forbids requests. The only scripts sort tables and, if volumes are asked for, draw them. All text goes through [`maud`], which escapes it, so
//! that names from files cannot become markup.
//!
//! Light and dark follow the reader's settings; colours are those of Okabe and Ito, which colour-blind people tell apart
//! (<https://jfly.uni-koeln.de/color/>), and no figure tells series apart by colour alone.
#![forbid(unsafe_code)]

mod classes;
pub mod comparison;
pub mod dataset;
mod error;
pub mod evaluation;
mod figure;
mod page;
mod picture;
mod table;
mod text;
pub mod training;
mod viewer;

pub use error::ReportError;
pub use page::Report;

//! Cases in three planes: the image in grey, segmentations as contours.

mod contour;
mod grey;
mod planes;
mod scans;

use maud::{Markup, html};

pub(crate) use planes::{Outline, Role, View, draw_planes};
pub(crate) use scans::Scans;

/// Which line of a picture is whose.
pub(crate) fn legend() -> Markup {
    html! {
        p.note {
            svg.key aria-hidden="true" viewBox="0 0 34 12" { rect.scan width="34" height="12" {} path.reference d="M2 6H32" {} }
            " reference "
            svg.key aria-hidden="true" viewBox="0 0 34 12" { rect.scan width="34" height="12" {} path.prediction d="M2 6H32" {} }
            " prediction"
        }
    }
}

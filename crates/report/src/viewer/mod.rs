//! A viewer of whole volumes inside a report: NiiVue, with the files of a few cases.
//!
//! The script of NiiVue is embedded compressed and written into a page only if volumes are asked for. Nothing is fetched: files lie in the
//! page, and its policy allows addresses of kind `data:` and `blob:` only.

use std::io::Read;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::read::GzDecoder;
use maud::{Markup, PreEscaped, html};
use nnunet_pyformats::json::{Json, KeyOrder};

/// `dist/niivue.umd.js` of the npm package @niivue/niivue 0.69.0; LICENSES.txt has the licences of what is in it.
const NIIVUE: &[u8] = include_bytes!("niivue.umd.js.gz");
const SCRIPT: &str = include_str!("viewer.js");
/// Largest file that goes into a page.
const LARGEST: u64 = 64 << 20;
/// Endings that NiiVue reads.
const ENDINGS: [&str; 4] = [".nii", ".nii.gz", ".nrrd", ".mha"];

/// What a volume is in its case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layer {
    /// The first channel.
    Image,
    /// The reference segmentation.
    Reference,
    /// The prediction.
    Prediction,
}

impl Layer {
    fn name(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Reference => "reference",
            Self::Prediction => "prediction",
        }
    }

    /// Colour map of NiiVue, and opacity.
    fn look(self) -> (&'static str, f64) {
        match self {
            Self::Image => ("gray", 1.0),
            Self::Reference => ("blue", 0.5),
            Self::Prediction => ("warm", 0.5),
        }
    }
}

/// The volumes of a case as the page holds them.
#[derive(Debug, Clone)]
pub(crate) struct ViewerCase {
    name: String,
    volumes: Vec<Json>,
}

impl ViewerCase {
    /// A case with its files, the lowest layer first.
    ///
    /// # Errors
    /// A file that cannot be read, is too large, or of a format that NiiVue does not read.
    pub(crate) fn read(name: String, files: &[(Layer, &Path)]) -> Result<Self, String> {
        let volumes = files.iter().map(|(layer, path)| volume(*layer, path)).collect::<Result<_, _>>()?;
        Ok(Self { name, volumes })
    }
}

fn volume(layer: Layer, path: &Path) -> Result<Json, String> {
    let shown = path.display();
    let lower = path.to_string_lossy().to_lowercase();
    let ending = ENDINGS.iter().filter(|ending| lower.ends_with(**ending)).max_by_key(|ending| ending.len());
    let ending = ending.ok_or_else(|| format!("{shown}: the viewer reads {} only", ENDINGS.join(", ")))?;
    let size = std::fs::metadata(path).map_err(|error| format!("{shown}: {error}"))?.len();
    if size > LARGEST {
        return Err(format!("{shown}: {} MB, the viewer takes {} MB at most", size >> 20, LARGEST >> 20));
    }
    let bytes = std::fs::read(path).map_err(|error| format!("{shown}: {error}"))?;
    let (colormap, opacity) = layer.look();
    Ok(Json::object([
        ("role", Json::from(layer.name())),
        ("file", Json::String(format!("{}{ending}", layer.name()))),
        ("colormap", Json::from(colormap)),
        ("opacity", Json::Float(opacity)),
        ("data", Json::String(STANDARD.encode(bytes))),
    ]))
}

/// The part of the page for `cases`, of which the reader opens one at a time.
pub(crate) fn viewer(cases: &[ViewerCase]) -> Markup {
    let list = cases.iter().map(|case| {
        Json::object([
            ("name", Json::from(case.name.as_str())),
            ("volumes", Json::Array(case.volumes.clone())),
        ])
    });
    // As content of a script, only the beginning of a tag would mean anything; JSON may write it as an escape.
    let data = Json::Array(list.collect()).to_python(KeyOrder::Kept).replace('<', "\\u003c");
    html! {
        p.note { "The volumes of these cases, drawn by NiiVue (needs WebGL 2)." }
        div.viewer {
            label { "Case " select #viewer-case {} }
            label { input #viewer-reference name="reference" type="checkbox" checked; " reference (blue)" }
            label { input #viewer-prediction name="prediction" type="checkbox" checked; " prediction (orange)" }
            button #viewer-open type="button" { "Show" }
            p #viewer-status .note role="status" {}
            // NiiVue changes the looks of what is around its canvas.
            div.stage hidden { canvas #viewer-canvas role="img" aria-label="No case is open" {} }
        }
        script #viewer-data type="application/json" { (PreEscaped(data)) }
        script { (PreEscaped(niivue())) }
        script { (PreEscaped(SCRIPT)) }
    }
}

/// The script of NiiVue.
fn niivue() -> String {
    let mut script = String::new();
    // It is a part of the program: a damaged one shows in the test below.
    let _ = GzDecoder::new(NIIVUE).read_to_string(&mut script);
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_is_whole_and_cannot_end_its_element() {
        let script = niivue();
        assert!(script.len() > 2_000_000 && script.contains("Niivue"));
        assert!(!script.to_lowercase().contains("</script"));
        assert!(!SCRIPT.contains("</"));
    }

    #[test]
    fn names_cannot_become_markup_and_other_formats_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.nii.gz");
        std::fs::write(&path, b"volume").unwrap();
        let case = ViewerCase::read("</script><b>".to_owned(), &[(Layer::Image, &path)]).unwrap();
        let page = viewer(&[case]).into_string();
        assert!(page.contains("\\u003c/script>\\u003cb>") || page.contains("\\u003c/script"), "escaped");
        assert!(!page.contains("</script><b>"));
        assert!(page.contains("dm9sdW1l"));
        let other = folder.path().join("a.png");
        assert!(ViewerCase::read("a".to_owned(), &[(Layer::Image, &other)]).unwrap_err().contains(".nrrd"));
    }
}

//! Headers that other programs read and that were refused, misread or taken without a word: each with the right answer.
//! What is right was seen in SimpleITK and tifffile; `tests/python/differential.py` compares over random headers.
// A test fails by panicking.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};

use nnunet_image_io::tiff3d::{self, Naming};
use nnunet_image_io::{Image, ImageWarning, NiftiForm};
use nnunet_image_io::{metaimage, natural_image, nifti, nrrd};
use nnunet_testkit::phantom::{NiftiFile, Voxels, gzip};
use nnunet_testkit::shared::shared_path;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

const META: &str = "ObjectType = Image\nNDims = 3\nBinaryData = True\nTransformMatrix = 1 0 0 0 1 0 0 0 1\n\
                    Offset = 5 -7 9\nElementSpacing = 1.1 0.9 1.3\nDimSize = 3 2 1\nElementType = MET_UCHAR\n\
                    ElementDataFile = LOCAL\n";
const NRRD: &str = "NRRD0004\ntype: unsigned char\ndimension: 3\nspace: left-posterior-superior\nsizes: 3 2 1\n\
                    space directions: (1.1,0,0) (0,0.9,0) (0,0,1.3)\nkinds: domain domain domain\nencoding: raw\n\
                    space origin: (5,-7,9)\n\n";

fn meta(change: impl Fn(&str) -> String) -> Result<Image, String> {
    let bytes = [change(META).as_bytes(), &[0, 1, 2, 3, 4, 5]].concat();
    metaimage::read(Folder::new().file("a.mha", &bytes)).map_err(|e| e.to_string())
}

fn nrrd_of(change: impl Fn(&str) -> String) -> Result<Image, String> {
    let bytes = [change(NRRD).as_bytes(), &[0, 1, 2, 3, 4, 5]].concat();
    nrrd::read(Folder::new().file("a.nrrd", &bytes)).map_err(|e| e.to_string())
}

fn is_plain(image: &Image) {
    assert_eq!(image.geometry.spacing, [1.1, 0.9, 1.3]);
    assert_eq!(image.geometry.origin, [5.0, -7.0, 9.0]);
    assert_eq!(image.volume.shape(), [1, 2, 3]);
    assert_eq!(image.volume.data(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
}

#[test]
fn metaimage_headers_are_read_as_widely_as_itk_reads_them() {
    for image in [
        meta(str::to_owned),
        meta(|h| h.replace("LOCAL", "local")),
        meta(|h| h.replace("LOCAL", "Local")),
        meta(|h| h.replace(" = ", ": ")),
        meta(|h| h.replace(" = ", "=")),
        meta(|h| h.replace("Offset", "\n \nOffset")),
        meta(|h| h.replace("NDims", "Comment = a = b: c\nNDims")),
        // The keys of the origin and of the directions have ranks.
        meta(|h| h.replace("NDims", "Position = 1 2 3\nRotation = 0 1 0 1 0 0 0 0 1\nNDims")),
    ] {
        let image = image.unwrap();
        is_plain(&image);
        assert_eq!(image.warnings, []);
    }
    let image = meta(|h| h.replace("Offset = 5 -7 9", "Offset = 1 2 3\nOrigin = 5 -7 9")).unwrap();
    is_plain(&image);
}

#[test]
fn nrrd_headers_are_read_as_widely_as_itk_reads_them() {
    for image in [
        nrrd_of(str::to_owned),
        nrrd_of(|h| h.replace("unsigned char", "Unsigned CHAR").replace("encoding: raw", "Encoding: RAW")),
        nrrd_of(|h| h.replace("left-posterior-superior", "Left-Posterior-Superior")),
        nrrd_of(|h| h.replace("kinds", "Segment0_Name:=liver: left\ncontent: a := b\nkinds")),
        nrrd_of(|h| h.replace("kinds", &format!("Segment0_Extent:={}\nkinds", "0 ".repeat(90_000)))),
        nrrd_of(|h| {
            let h = h.replace("dimension: 3", "dimension: 4").replace("sizes: ", "sizes: 1 ");
            h.replace("directions: ", "directions: none ").replace("kinds: ", "kinds: list ")
        }),
        nrrd_of(|h| {
            let h = h.replace("dimension: 3", "dimension: 4").replace("3 2 1\n", "3 2 1 1\n");
            h.replace("1.3)\n", "1.3) none\n")
                .replace("kinds: domain", "kinds: domain domain domain list #")
                .replace(" # domain domain", "")
        }),
    ] {
        let image = image.unwrap();
        is_plain(&image);
        assert_eq!(image.warnings, []);
    }
}

#[test]
fn voxels_that_do_not_begin_right_behind_the_header_are_found() {
    let voxels = [0, 1, 2, 3, 4, 5];
    let nrrd_at = |encoding: &str, skips: &str, bytes: &[u8]| {
        let header = NRRD.replace("encoding: raw\n", &format!("encoding: {encoding}\n{skips}"));
        nrrd::read(Folder::new().file("a.nrrd", &[header.as_bytes(), bytes].concat()))
            .map_err(|e| e.to_string())
    };
    let behind = |before: &[u8], after: &[u8]| [before, &voxels, after].concat();
    for (encoding, skips, bytes) in [
        ("raw", "byte skip: -1\n", behind(b"anything\nat all", b"")),
        ("raw", "BYTESKIP: -1\n", behind(b"", b"")),
        ("raw", "byte skip: 3\n", behind(b"abc", b"")),
        ("raw", "line skip: 2\n", behind(b"one\r\ntwo\n", b"")),
        ("raw", "lineskip: 1\nbyteskip: 3\n", behind(b"one\nabc", b"")),
        ("raw", "line skip: 1\nbyte skip: -1\n", behind(b"one\nabcdef", b"")),
        ("gzip", "line skip: 1\n", [b"one\n", &gzip(&voxels)[..]].concat()),
        ("gzip", "byte skip: 3\n", gzip(&behind(b"abc", b""))),
        ("gzip", "byte skip: -1\n", gzip(&behind(&[7; 300_000], b""))),
        ("gzip", "line skip: 1\nbyte skip: -4\n", [b"one\n", &gzip(&behind(b"abc", b"xyz"))[..]].concat()),
    ] {
        let image = nrrd_at(encoding, skips, &bytes).unwrap_or_else(|e| panic!("{skips:?}: {e}"));
        is_plain(&image);
        assert_eq!(image.warnings, [], "{encoding} {skips:?}");
    }
    for (encoding, skips, bytes, expected) in [
        ("raw", "byte skip: -1\n", &voxels[1..], "6 bytes of voxels but there are 5"),
        ("raw", "byte skip: -2\n", &voxels[..], "byte skip"),
        ("raw", "byte skip: 1e3\n", &voxels[..], "byte skip"),
        ("raw", "byte skip: 1\n", &voxels[..], "6 bytes of voxels but there are 5"),
        ("raw", "byte skip: 9223372036854775807\n", &voxels[..], "there are 0"),
        ("raw", "line skip: 1\n", &voxels[..], "line skip"),
        ("raw", "line skip: -1\n", &voxels[..], "line skip"),
        ("gzip", "byte skip: -1\n", &gzip(&voxels[1..])[..], "there are 5"),
        ("gzip", "byte skip: 30\n", &gzip(&voxels)[..], "within the 30 bytes"),
    ] {
        let error = nrrd_at(encoding, skips, bytes).unwrap_err();
        assert!(error.contains("a.nrrd") && error.contains(expected), "{skips:?}: {error}");
    }

    let meta_at = |size: &str, bytes: &[u8]| {
        let header = META.replace("DimSize", &format!("HeaderSize = {size}\nDimSize"));
        metaimage::read(Folder::new().file("a.mha", &[header.as_bytes(), bytes].concat()))
            .map_err(|e| e.to_string())
    };
    let header = META.len() + "HeaderSize = 300\n".len();
    let position = (header + 3).to_string();
    for (size, bytes) in [("-1", behind(b"abc", b"")), (position.as_str(), behind(b"abc", b""))] {
        let image = meta_at(size, &bytes).unwrap_or_else(|e| panic!("{size}: {e}"));
        is_plain(&image);
        assert_eq!(image.warnings, []);
    }
    for size in ["5", "-2", "many"] {
        let error = meta_at(size, &voxels).unwrap_err();
        assert!(error.contains("a.mha: HeaderSize"), "{size}: {error}");
    }
}

#[test]
fn nrrd_without_a_space_has_its_origin_in_the_axis_mins() {
    let text = |more: &str| {
        format!("NRRD0004\ntype: uchar\ndimension: 3\nsizes: 3 2 1\nencoding: raw\nspacings: 1 2 4\n{more}\n")
    };
    let origin = |more: &str| nrrd_of(|_| text(more)).unwrap().geometry.origin;
    // ITK takes samples for cells, of which the minimum is the outer border.
    assert_eq!(origin("axis mins: 10 20 30\n"), [10.5, 21.0, 32.0]);
    assert_eq!(origin("axis mins: 10 20 30\ncenters: cell cell cell\n"), [10.5, 21.0, 32.0]);
    assert_eq!(origin("axismins: 10 20 30\ncenterings: node node node\n"), [10.0, 20.0, 30.0]);
    assert_eq!(origin(""), [0.0; 3]);
}

#[test]
fn what_is_guessed_or_overridden_is_said() {
    let image = meta(|h| h.replace("DimSize", "ElementSpacing = 2 2 2\nDimSize")).unwrap();
    assert_eq!(image.geometry.spacing, [2.0; 3]);
    assert_eq!(image.warnings, [ImageWarning::RepeatedKey { key: "ElementSpacing".into() }]);
    let image = nrrd_of(|h| h.replace("kinds", "space origin: (1,1,1)\nkinds")).unwrap();
    is_plain(&image);
    assert_eq!(image.warnings, [ImageWarning::RepeatedKey { key: "space origin".into() }]);
    let image = nrrd_of(|h| h.replace("kinds", "spacings: 2 2 2\nkinds")).unwrap();
    is_plain(&image);
    assert_eq!(image.warnings, [ImageWarning::IgnoredField { key: "spacings", instead: "space directions" }]);
    let image = meta(|h| h.replace("ElementSpacing = 1.1 0.9 1.3\n", "")).unwrap();
    assert_eq!(image.geometry.spacing, [1.0; 3]);
    assert_eq!(image.warnings, [ImageWarning::NoSpacing]);
}

#[test]
fn directions_and_spacings_that_are_none_are_refused_with_their_field() {
    let matrix = |m: &str| meta(|h| h.replace("1 0 0 0 1 0 0 0 1", m)).unwrap_err();
    for error in [matrix("0 0 0 0 0 0 0 0 0"), matrix("1 0 0 1 0 0 0 0 1")] {
        assert!(error.contains("a.mha: TransformMatrix") && error.contains("3 independent axes"), "{error}");
    }
    for value in ["nan 1 1", "inf 1 1", "0 1 1"] {
        let error = meta(|h| h.replace("1.1 0.9 1.3", value)).unwrap_err();
        assert!(error.contains("a.mha: ElementSpacing"), "{error}");
    }
    for (from, to) in [("(1.1,0,0)", "(0,0,0)"), ("(1.1,0,0)", "(0,0.9,0)"), ("(1.1,0,0)", "(nan,nan,nan)")] {
        let error = nrrd_of(|h| h.replace(from, to)).unwrap_err();
        assert!(error.contains("a.nrrd: space directions"), "{error}");
    }
    let error = nrrd_of(|h| h.replace("space directions", "spacings: nan 1 1\n#")).unwrap_err();
    assert!(error.contains("a.nrrd: spacings"), "{error}");
}

#[test]
fn doubles_beyond_f32_are_counted_and_never_silent() {
    let values: Vec<u8> =
        [1.0f64, 1e300, f64::NAN, -1e39, 2.0, 3.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    let folder = Folder::new();
    let mha = folder.file("a.mha", &[META.replace("UCHAR", "DOUBLE").as_bytes(), &values].concat());
    let image = metaimage::read(mha).unwrap();
    assert_eq!(image.warnings, [ImageWarning::NonFiniteVoxels { count: 3, zeroed: false }]);
    let text = NRRD.replace("unsigned char", "double").replace("encoding", "endian: little\nencoding");
    let image = nrrd::read(folder.file("a.nrrd", &[text.as_bytes(), &values].concat())).unwrap();
    assert_eq!(image.warnings, [ImageWarning::NonFiniteVoxels { count: 3, zeroed: false }]);

    let mut bytes = NiftiFile::new([1, 2, 3], [1.0; 3], Voxels::F32(vec![])).bytes();
    bytes[70..74].copy_from_slice(&[64, 0, 64, 0]);
    let path = folder.file("a.nii", &[bytes, values].concat());
    let image = nifti::read(&path).unwrap();
    let [zeroed, kept] =
        [(1, true), (2, false)].map(|(count, zeroed)| ImageWarning::NonFiniteVoxels { count, zeroed });
    assert_eq!(image.warnings, [zeroed, kept]);
    assert_eq!(image.volume.data()[..4], [1.0, f32::INFINITY, 0.0, f32::NEG_INFINITY]);
    let image = nifti::nibabel::read(&path).unwrap();
    assert_eq!(image.warnings, [ImageWarning::NonFiniteVoxels { count: 3, zeroed: false }]);
}

/// A file of 2 x 3 x 4 voxels with sform and qform; `signs` turn the axes of the qform.
fn two_forms(codes: [i16; 2], signs: [f32; 3]) -> Vec<u8> {
    let mut bytes = NiftiFile::new([2, 3, 4], [1.3, 0.9, 1.1], Voxels::U8((0..24).collect())).bytes();
    let mut put = |at: usize, raw: &[u8]| bytes[at..at + raw.len()].copy_from_slice(raw);
    put(252, &codes[1].to_le_bytes());
    put(254, &codes[0].to_le_bytes());
    // A reflection is a turn by half around the axis and pixdim[0] = -1, which reverses z.
    let [x, y, z] = signs;
    let handed = x * y * z;
    put(76, &handed.to_le_bytes());
    let rotation = [x, y, z * handed];
    let axis = (0..3).find(|&i| rotation[i] > 0.0 && rotation.iter().any(|v| *v < 0.0));
    let quaternion: [f32; 3] = std::array::from_fn(|i| if axis == Some(i) { 1.0 } else { 0.0 });
    quaternion.iter().enumerate().for_each(|(i, v)| put(256 + 4 * i, &v.to_le_bytes()));
    bytes
}

/// ITK compares the forms without looking at which way their axes run: the sform counts.
#[test]
fn forms_with_axes_of_opposite_signs_mean_the_sform() {
    let folder = Folder::new();
    for bits in 0..8 {
        let signs = [0, 1, 2].map(|i| if bits >> i & 1 == 1 { -1.0f32 } else { 1.0 });
        let path = folder.file("a.nii", &two_forms([2, 1], signs));
        let image = nifti::read(&path).unwrap();
        assert_eq!(image.geometry.direction, [-1., 0., 0., 0., -1., 0., 0., 0., 1.], "{signs:?}");
        let disagree = ImageWarning::FormsDisagree { taken: NiftiForm::Sform };
        let expected = if bits == 0 { vec![] } else { vec![disagree] };
        assert_eq!(image.warnings, expected, "{signs:?}");
        assert_eq!(nifti::nibabel::read(&path).unwrap().warnings, expected, "{signs:?}");
    }
}

#[test]
fn bytes_behind_the_voxels_are_ignored_with_a_warning() {
    let folder = Folder::new();
    let plain = NiftiFile::new([1, 2, 3], [1.0; 3], Voxels::U8(vec![0, 1, 2, 3, 4, 5])).bytes();
    for (name, bytes, warned) in [
        ("a.nii.gz", [gzip(&plain), b"rubbish".to_vec()].concat(), true),
        ("b.nii.gz", [gzip(&plain), vec![0; 512]].concat(), false),
        ("c.nii", [&plain[..], b"x"].concat(), true),
        ("d.nii.gz", gzip(&[&plain[..], b"x"].concat()), true),
        ("e.nii", plain.clone(), false),
    ] {
        let image = nifti::read(folder.file(name, &bytes)).unwrap();
        assert_eq!(image.volume.data(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(image.warnings == [ImageWarning::BytesBehindVoxels], warned, "{name}");
    }
}

#[test]
fn further_dimensions_of_no_length_are_one() {
    let mut bytes = NiftiFile::new([1, 2, 3], [1.0; 3], Voxels::U8(vec![0, 1, 2, 3, 4, 5])).bytes();
    bytes[40] = 4;
    bytes[48] = 0;
    let image = nifti::read(Folder::new().file("a.nii", &bytes)).unwrap();
    assert_eq!(image.volume.shape(), [1, 2, 3]);
    assert_eq!(image.warnings, [ImageWarning::EmptyDimension { dimension: 4, found: 0 }]);
}

/// A TIFF of low-byte-first numbers with one directory behind `pixels`.
fn tiff(entries: &[(u16, u32)], description: &str, pixels: &[u8]) -> Vec<u8> {
    let directory = 8 + pixels.len() + description.len();
    let mut bytes =
        [b"II*\0", &(directory as u32).to_le_bytes()[..], pixels, description.as_bytes()].concat();
    let mut all = vec![(270u16, 2u16, description.len() as u32, (8 + pixels.len()) as u32)];
    all.extend(entries.iter().map(|&(tag, value)| (tag, 4, 1, value)));
    all.push((273, 4, 1, 8));
    all.sort_unstable();
    bytes.extend((all.len() as u16).to_le_bytes());
    for (tag, kind, count, value) in all {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(kind.to_le_bytes());
        bytes.extend(count.to_le_bytes());
        bytes.extend(value.to_le_bytes());
    }
    bytes.extend([0; 4]);
    bytes
}

#[test]
fn slices_behind_one_directory_are_all_read() {
    let folder = Folder::new();
    let page = [(256, 3), (257, 2), (258, 8), (259, 1), (262, 1), (278, 2), (279, 6)];
    let pixels: Vec<u8> = (0..24).collect();
    for note in [
        "ImageJ=1.53c\nimages=4\nslices=4\nloop=false\n\0",
        "ImageJ=1.53c\nimages=4\nframes=4\n\0",
        "{\"shape\": [4, 2, 3], \"truncated\": true}\0",
    ] {
        let path = folder.file("a_0000.tif", &tiff(&page, note, &pixels));
        let image = tiff3d::read(&path, Naming::Channel).unwrap();
        assert_eq!(image.volume.shape(), [4, 2, 3], "{note}");
        assert!(image.volume.data().iter().zip(0..).all(|(v, i)| *v == i as f32), "{note}");
        assert_eq!(tiff3d::read_shape_and_spacing(&path, Naming::Channel).unwrap().0, [4, 2, 3]);
    }
    let error = |note: &str| {
        let path = folder.file("a_0000.tif", &tiff(&page, note, &pixels));
        tiff3d::read(&path, Naming::Channel).unwrap_err().to_string()
    };
    assert!(error("ImageJ=1\nframes=2\nslices=2\n\0").contains("2 frames, 2 slices"));
    assert!(error("ImageJ=1\nslices=400\n\0").contains("damaged or incomplete"));
    // Without a note it is a picture, with a warning that there is more.
    let path = folder.file("b.tif", &tiff(&page, "no note\0", &pixels));
    let picture = natural_image::read(&path).unwrap();
    assert_eq!(picture.channels.data(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
}

#[test]
fn tiff_values_are_those_in_the_file() {
    let folder = Folder::new();
    let read = |entries: &[(u16, u32)], pixels: &[u8]| {
        natural_image::read(folder.file("a.tif", &tiff(entries, "x\0", pixels)))
            .map(|p| p.channels.into_data())
    };
    // Black and white of one bit a pixel, with either meaning of 0; rows begin at whole bytes.
    for photometric in [0, 1] {
        let bits = [(256, 3), (257, 2), (258, 1), (259, 1), (262, photometric), (278, 2), (279, 2)];
        let values = read(&bits, &[0b1010_0000, 0b0110_0000]).unwrap();
        assert_eq!(values, [1.0, 0.0, 1.0, 0.0, 1.0, 1.0]);
        let bytes = [(256, 3), (257, 1), (258, 8), (259, 1), (262, photometric), (278, 1), (279, 3)];
        assert_eq!(read(&bytes, &[7, 0, 255]).unwrap(), [7.0, 0.0, 255.0]);
    }
    let four = [(256, 3), (257, 1), (258, 4), (259, 1), (262, 1), (278, 1), (279, 2)];
    assert_eq!(read(&four, &[0x1f, 0x70]).unwrap(), [1.0, 15.0, 7.0]);
    let lzma = [(256, 3), (257, 1), (258, 8), (259, 34925), (262, 1), (278, 1), (279, 3)];
    let error = read(&lzma, &[7, 0, 255]).unwrap_err().to_string();
    assert!(error.contains("a.tif: compression 34925 (LZMA) is not supported"), "{error}");
}

#[test]
fn a_missing_spacing_file_is_named_with_one_that_may_be_meant() {
    let folder = Folder::new();
    let page = [(256, 3), (257, 2), (258, 8), (259, 1), (262, 1), (278, 2), (279, 6)];
    let bytes = tiff(&page, "ImageJ=1\nslices=2\n\0", &[0; 12]);
    let path = folder.file("img_0000.tif", &bytes);
    let warning = || {
        let image = tiff3d::read(&path, Naming::Channel).unwrap();
        image.warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    };
    assert!(
        warning().contains("no spacing file img.json; the spacing was taken to be 1 mm"),
        "{}",
        warning()
    );
    folder.file("img_0000.json", b"{\"spacing\": [5, 1.2, 1.2]}");
    assert!(warning().contains("no spacing file img.json (img_0000.json is ignored)"), "{}", warning());
    folder.file("img.json", b"{\"spacing\": [5, 1.2, 1.2]}");
    assert_eq!(warning(), "");
}

/// The files that failed once, where they are at hand.
#[test]
fn shared_faults_are_answered() {
    let Some(root) = shared_path("faults") else { return };
    let at = |name: &str| root.join(name);
    let warnings =
        |image: &Image| image.warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    for i in [0, 4, 8, 12, 16, 20] {
        let image = nifti::read(at(&format!("nifti_forms/h{i:03}_0000.nii.gz"))).unwrap();
        assert_eq!(image.geometry.direction, [-1., 0., 0., 0., -1., 0., 0., 0., 1.], "h{i:03}");
        assert_eq!(warnings(&image).contains("place the image differently"), i != 0, "h{i:03}");
    }
    let itk = |path: &Path| match path.extension().unwrap().to_str().unwrap() {
        "mha" => metaimage::read(path),
        "nrrd" => nrrd::read(path),
        _ => nifti::read(path),
    };
    for (name, said) in [
        ("A_09b_dim4_zero/input/img_0000.nii.gz", "dim[4] is 0"),
        ("A_11_dtype_f8_large/input/img_0000.nii.gz", "beyond the range of 32-bit floats"),
        ("A_20_gz_trailing_garbage/input/img_0000.nii.gz", "ignored data after the last voxel"),
        ("X_batch_f64/input/b_0000.nii.gz", "beyond the range of 32-bit floats"),
        ("M_03_local_lower/input/img_0000.mha", ""),
        ("M_05_colon_sep/input/img_0000.mha", ""),
        ("M_21_dup_key/input/img_0000.mha", "\"ElementSpacing\" more than once"),
        ("M_22_elem_nan/input/img_0000.mha", "NaN"),
        ("N_06b_list_len1/input/img_0000.nrrd", ""),
        ("N_07_header_80kb/input/img_0000.nrrd", ""),
        ("N_10z_type_Float/input/img_0000.nrrd", ""),
        ("N_19_nan/input/img_0000.nrrd", "NaN"),
    ] {
        let image = itk(&at(name)).unwrap();
        assert_eq!(image.volume.shape(), [22, 34, 26], "{name}");
        let got = warnings(&image);
        assert!(if said.is_empty() { got.is_empty() } else { got.contains(said) }, "{name}: {got}");
    }
    let error = itk(&at("M_08e_zero_matrix/input/img_0000.mha")).unwrap_err().to_string();
    assert!(error.contains("img_0000.mha: TransformMatrix"), "{error}");
    let stack = tiff3d::read(at("PT_02_json_0000/input/img_0000.tif"), Naming::Channel).unwrap();
    assert!(warnings(&stack).contains("no spacing file img.json"), "{}", warnings(&stack));
    let stack = tiff3d::read(at("PT_10_miniswhite/input/img_0000.tif"), Naming::Channel).unwrap();
    assert_eq!((stack.volume.shape(), warnings(&stack).as_str()), ([8, 40, 48], ""));
    for folder in ["dataset_P_stack_imagej_one_ifd", "dataset_P_stack_miniswhite"] {
        let path = at(&format!("{folder}/raw/Dataset001_T/imagesTr/p_0_0000.tif"));
        assert_eq!(tiff3d::read(path, Naming::Channel).unwrap().volume.shape(), [8, 40, 48], "{folder}");
    }
    let label =
        natural_image::read(at("dataset_P_tif_label_bool/raw/Dataset001_T/labelsTr/p_0.tif")).unwrap();
    assert!(label.channels.data().iter().all(|v| *v == 0.0 || *v == 1.0));
}

/// Files with random headers against what SimpleITK and tifffile read (`golden/headers/make.py`).
#[test]
fn random_headers_are_read_as_the_reference_reads_them() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/headers");
    let text = std::fs::read_to_string(golden.join("expected.json")).unwrap();
    let expected: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
    assert!(expected.len() >= 30);
    for (name, want) in expected {
        let path = golden.join(&name);
        let image = match path.extension().unwrap().to_str().unwrap() {
            "nii" => nifti::read(&path).unwrap(),
            "nrrd" => nrrd::read(&path).unwrap(),
            "mha" => metaimage::read(&path).unwrap(),
            _ => tiff3d::read(&path, Naming::Channel).unwrap(),
        };
        let numbers = |key: &str| -> Option<Vec<f64>> {
            Some(want[key].as_array()?.iter().map(|v| v.as_f64().unwrap()).collect())
        };
        // Decoders of JPEG round differently.
        let lossy = image.warnings.contains(&ImageWarning::LossyCompression { method: "JPEG" });
        let tolerance: f64 = if lossy { 2.0 } else { 1e-12 };
        let close = |what: &str, got: &[f64]| {
            let Some(want) = numbers(what) else { return };
            assert_eq!(got.len(), want.len(), "{name}: {what}");
            let equal = got.iter().zip(&want).all(|(a, b)| (a - b).abs() <= tolerance.max(1e-12 * b.abs()));
            assert!(equal, "{name}: {what} {got:?} for {want:?}");
        };
        let [z, y, x] = image.volume.shape().map(|v| v as f64);
        close("shape", &[1.0, z, y, x]);
        close("spacing", &image.geometry.spacing);
        close("origin", &image.geometry.origin);
        close("direction", &image.geometry.direction);
        let values = image.volume.data();
        close("first", &values.iter().take(8).map(|&v| f64::from(v)).collect::<Vec<_>>());
        let checksum: f64 =
            values.iter().enumerate().map(|(i, &v)| f64::from(v) * (i % 1009 + 1) as f64).sum();
        let want = want["checksum"].as_f64().unwrap();
        assert!(
            lossy || (checksum - want).abs() <= 1e-9 * want.abs().max(1.0),
            "{name}: {checksum} for {want}"
        );
    }
}

#[test]
fn spacing_files_that_are_no_json_are_shown_as_they_are() {
    let folder = Folder::new();
    let path = folder.file("a_0000.tif", b"");
    for (text, found) in [
        ("{\"spacing\": [NaN, 1, 1]}", "{\"spacing\": [NaN, 1, 1]}"),
        ("{\"spacing\": [1, 1]}", "is [1,1]"),
        ("{}", "is missing"),
    ] {
        folder.file("a.json", text.as_bytes());
        let error = tiff3d::read(&path, Naming::Channel).unwrap_err().to_string();
        assert!(error.contains("a.json: spacing") && error.contains(found), "{error}");
    }
}

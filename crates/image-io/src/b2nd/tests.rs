//! Files of Python's blosc2 (tests/golden/b2nd/make.py), round trips, regions, and damaged files.

use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;
use nnunet_volume::error::VolumeError;

const SHAPE: [usize; 4] = [2, 11, 23, 19];

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/b2nd").join(name).with_extension("b2nd")
}

fn steps(count: usize) -> Vec<f64> {
    (0..count).map(|i| ((i / 5) % 23) as f64).collect()
}

fn noise(count: usize) -> Vec<f64> {
    let value = |i: u64| (i * 2_654_435_761 % (1 << 32) / (1 << 13) % 256) as f64 - 128.0;
    (0..count as u64).map(value).collect()
}

fn count(shape: &[usize]) -> usize {
    shape.iter().product()
}

#[test]
fn reads_files_of_every_kind() {
    let sparse: Vec<f64> = (0..count(&SHAPE))
        .map(|i| if i / (11 * 23 * 19) == 1 && i / 19 % 23 >= 16 { 7.0 } else { 0.0 })
        .collect();
    let all = count(&SHAPE);
    let cases = [
        ("lz4hc_f4", ElementType::F32, steps(all)),
        ("lz4hc_shuffle_i2", ElementType::I16, steps(all)),
        ("zstd_shuffle_f4", ElementType::F32, steps(all)),
        ("zstd_split_f4", ElementType::F32, steps(all)),
        ("zstd_bitshuffle_i2", ElementType::I16, steps(all)),
        ("lz4_bitshuffle_f4", ElementType::F32, steps(all)),
        ("blosclz_shuffle_f4", ElementType::F32, steps(all)),
        ("blosclz_i1", ElementType::I8, steps(all)),
        ("zlib_shuffle_u2", ElementType::U16, steps(all)),
        ("lz4_delta_i4", ElementType::I32, steps(all)),
        ("lz4_delta_only_u1", ElementType::U8, steps(all)),
        ("lz4_noise_i1", ElementType::I8, noise(all)),
        ("stored_f4", ElementType::F32, steps(all)),
        ("defaults_f2", ElementType::F16, steps(all)),
        ("zeros_and_runs_i2", ElementType::I16, sparse),
        // Written by blosc2 2.7.1, which older nnU-Net versions had.
        ("old_zstd_f4", ElementType::F32, steps(all)),
        ("old_defaults_i2", ElementType::I16, steps(all)),
        ("full_f4", ElementType::F32, vec![3.5; all]),
        ("zeros_f4", ElementType::F32, vec![0.0; all]),
    ];
    for (name, element, expected) in cases {
        let reader = B2ndReader::open(golden(name)).unwrap();
        assert_eq!((reader.shape(), reader.element_type()), (&SHAPE[..], element), "{name}");
        let found: Vec<f64> = reader.read_all().unwrap();
        let differing = found.iter().zip(&expected).position(|(a, b)| a != b);
        assert_eq!((found.len(), differing), (expected.len(), None), "{name}");
    }
    // 400 chunks: the index itself is compressed.
    for name in ["many_chunks_i1", "old_many_chunks_i1"] {
        let reader = B2ndReader::open(golden(name)).unwrap();
        assert_eq!(reader.read_all::<f64>().unwrap(), steps(40 * 40 * 8), "{name}");
    }
    let reader = B2ndReader::open(golden("f8_rank2")).unwrap();
    assert_eq!(reader.shape(), [37, 41]);
    assert_eq!(reader.read_all::<f64>().unwrap(), steps(37 * 41));
    let nans: Vec<f32> = B2ndReader::open(golden("nan_f4")).unwrap().read_all().unwrap();
    assert!(nans.len() == all && nans.iter().all(|v| v.is_nan()));
}

/// The elements of a region, one by one.
fn expected_region(array: &[f64], shape: &[usize], start: &[usize], size: &[usize]) -> Vec<f64> {
    let mut out = Vec::new();
    for i in 0..count(size) {
        let (mut rest, mut at, mut step) = (i, 0, 1);
        for axis in (0..size.len()).rev() {
            at += (start[axis] + rest % size[axis]) * step;
            rest /= size[axis];
            step *= shape[axis];
        }
        out.push(array[at]);
    }
    out
}

#[test]
fn reads_regions() {
    let all = steps(count(&SHAPE));
    for name in ["lz4hc_f4", "lz4_delta_i4", "zstd_bitshuffle_i2", "stored_f4"] {
        let reader = B2ndReader::open(golden(name)).unwrap();
        for (start, size) in [
            ([0, 0, 0, 0], SHAPE),
            ([1, 10, 22, 18], [1, 1, 1, 1]),
            ([0, 3, 7, 15], [2, 6, 10, 3]),
            ([1, 4, 8, 0], [1, 4, 8, 16]),
            ([0, 0, 5, 5], [1, 0, 5, 5]),
        ] {
            let found: Vec<f64> = reader.read_region(&start, &size).unwrap();
            assert_eq!(found, expected_region(&all, &SHAPE, &start, &size), "{name} {start:?} {size:?}");
        }
    }
}

#[test]
fn regions_outside_and_other_types_are_refused() {
    let reader = B2ndReader::open(golden("lz4hc_f4")).unwrap();
    let message = reader.read_region::<f32>(&[0, 0, 0, 10], &[1, 1, 1, 10]).unwrap_err().to_string();
    assert!(message.contains("the region of shape [1, 1, 1, 10] at [0, 0, 0, 10]"), "{message}");
    assert!(message.ends_with("an array of <f4 and shape [2, 11, 23, 19]"), "{message}");
    assert!(reader.read_region::<f32>(&[0, 0], &[1, 1]).is_err());
    assert!(reader.read_region::<f32>(&[usize::MAX, 0, 0, 0], &[1, 1, 1, 1]).is_err());
    let message = reader.read_all::<i16>().unwrap_err().to_string();
    assert!(message.contains("numbers of type <i2 cannot be read from an array of <f4"), "{message}");
}

fn write_and_read<T: Element + PartialEq + std::fmt::Debug>(shape: &[usize], layout: &Layout, data: &[T]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.b2nd");
    write_b2nd(&path, shape, data, layout).unwrap();
    let reader = B2ndReader::open(&path).unwrap();
    assert_eq!((reader.shape(), reader.layout(), reader.element_type()), (shape, layout, T::TYPE));
    assert!(reader.read_all::<T>().unwrap() == data);
}

#[test]
fn every_type_is_written() {
    let layout = Layout { chunk: vec![1, 8, 16, 19], block: vec![1, 4, 8, 16] };
    macro_rules! check {
        ($($t:ty),*) => {$(
            let steps: Vec<$t> = (0..count(&SHAPE)).map(|i| ((i / 5) % 23) as u8 as $t).collect();
            write_and_read(&SHAPE, &layout, &steps);
        )*};
    }
    check!(i8, u8, i16, u16, i32, u32, i64, u64, f32, f64);
    let halves: Vec<half::f16> = (0..count(&SHAPE)).map(|i| half::f16::from_f32(i as f32)).collect();
    write_and_read(&SHAPE, &layout, &halves);
}

#[test]
fn values_come_back_bit_for_bit() {
    let bits = [0u32, 0x8000_0000, 1, 0x7f80_0000, 0x7fc0_0001, 0xffff_ffff, 0x3f80_0000];
    let data: Vec<f32> = (0..700).map(|i| f32::from_bits(bits[i % 7])).collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.b2nd");
    let layout = Layout { chunk: vec![300], block: vec![64] };
    write_b2nd(&path, &[700], &data, &layout).unwrap();
    let found: Vec<f32> = B2ndReader::open(&path).unwrap().read_all().unwrap();
    assert!(found.iter().zip(&data).all(|(a, b)| a.to_bits() == b.to_bits()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn any_shape_and_region(
        axes in prop::collection::vec((1usize..14, 1usize..9, 1usize..9, 0.0..1.0f64, 0.0..1.0f64), 1..5),
        period in 1usize..40,
    ) {
        let shape: Vec<usize> = axes.iter().map(|a| a.0).collect();
        let block: Vec<usize> = axes.iter().map(|a| a.1.min(a.0)).collect();
        let chunk: Vec<usize> = axes.iter().map(|a| (a.1 + a.2).min(a.0).max(a.1.min(a.0))).collect();
        let start: Vec<usize> = axes.iter().map(|a| (a.3 * a.0 as f64) as usize).collect();
        let size: Vec<usize> = axes.iter().zip(&start).map(|(a, s)| 1 + (a.4 * (a.0 - s - 1) as f64) as usize).collect();
        let data: Vec<i16> = (0..count(&shape)).map(|i| (i % period) as i16 - 3).collect();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.b2nd");
        write_b2nd(&path, &shape, &data, &Layout { chunk, block }).unwrap();
        let reader = B2ndReader::open(&path).unwrap();
        let all: Vec<f64> = data.iter().map(|&v| v.into()).collect();
        prop_assert_eq!(&reader.read_all::<f64>().unwrap(), &all);
        prop_assert_eq!(reader.read_region::<f64>(&start, &size).unwrap(), expected_region(&all, &shape, &start, &size));
    }
}

#[test]
fn what_does_not_fit_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.b2nd");
    let layout = |chunk: &[usize], block: &[usize]| Layout { chunk: chunk.to_vec(), block: block.to_vec() };
    for (shape, len, layout) in [
        (vec![2, 3], 5, layout(&[2, 3], &[2, 3])),
        (vec![2, 3], 6, layout(&[2], &[2])),
        (vec![2, 3], 6, layout(&[2, 0], &[2, 1])),
        (vec![2, 0], 0, layout(&[2, 1], &[2, 1])),
        (vec![2, 3], 6, layout(&[1 << 20, 1 << 20], &[1, 1])),
    ] {
        let error = write_b2nd(&path, &shape, &vec![0f32; len], &layout).unwrap_err();
        assert!(matches!(error, VolumeError::NotInArray { .. }), "{error}");
    }
    assert!(!path.exists());
}

#[test]
fn layouts_of_the_reference() {
    let Some(path) = nnunet_testkit::shared::shared_path("reference/unit/sliding_initialpatch_blosc.json")
    else {
        return;
    };
    let text = std::fs::read_to_string(path).unwrap();
    let blosc = text.split("\"blosc\"").nth(1).unwrap();
    // Flat objects of number lists: {"image": [..], "patch": [..], "bytes": n, "blocks": [..], "chunks": [..]}.
    let numbers = |part: &str| -> Vec<usize> {
        let digits = |c: char| !c.is_ascii_digit();
        part.split(digits).filter(|s| !s.is_empty()).map(|s| s.parse().unwrap()).collect()
    };
    let mut cases = 0;
    for object in blosc.split("\"image\"").skip(1) {
        let field =
            |name: &str| numbers(object.split(name).nth(1).unwrap().split(['"', ']', '}']).nth(1).unwrap());
        let image = numbers(object.split(']').next().unwrap());
        let element_size = numbers(object.split("bytes").nth(1).unwrap().split(',').next().unwrap())[0];
        let layout =
            patch_layout([image[0], image[1], image[2], image[3]], &field("patch"), element_size).unwrap();
        assert_eq!((layout.block, layout.chunk), (field("blocks"), field("chunks")), "{object}");
        cases += 1;
    }
    assert!(cases >= 6, "{cases} cases");
}

#[test]
fn layouts_keep_their_bounds() {
    assert_eq!(
        patch_layout([1, 36, 51, 35], &[40, 56, 40], 4),
        Some(Layout { block: vec![1, 32, 32, 32], chunk: vec![1, 36, 51, 35] })
    );
    assert_eq!(
        patch_layout([1, 30, 512, 512], &[512, 512], 4),
        Some(Layout { block: vec![1, 1, 256, 128], chunk: vec![1, 1, 512, 512] })
    );
    assert_eq!(patch_layout([1, 0, 5, 5], &[4, 4, 4], 4), None);
    assert_eq!(patch_layout([1, 5, 5, 5], &[4], 4), None);
}

#[test]
fn reads_the_sample_of_the_reference() {
    for case in ["hippocampus_001", "hippocampus_001_seg", "hippocampus_003", "hippocampus_003_seg"] {
        let Some(path) = nnunet_testkit::shared::shared_path(&format!("reference/b2nd_sample/{case}.b2nd"))
        else {
            return;
        };
        let expected = nnunet_testkit::npy::read_npy(path.with_extension("npy"));
        let reader = B2ndReader::open(&path).unwrap();
        assert_eq!(reader.shape(), expected.shape);
        assert!(reader.element_type().numpy().ends_with(&expected.dtype));
        assert!(reader.read_all::<f64>().unwrap() == expected.data, "{case}");
    }
}

/// Writes `bytes` and reads all of it.
fn read_bytes(bytes: &[u8]) -> Result<Vec<f64>, VolumeError> {
    let folder = tempfile::tempdir().unwrap();
    read_bytes_at(&folder.path().join("a.b2nd"), bytes)
}

fn read_bytes_at(path: &Path, bytes: &[u8]) -> Result<Vec<f64>, VolumeError> {
    std::fs::write(path, bytes).unwrap();
    let reader = B2ndReader::open(path)?;
    if reader.shape().iter().product::<usize>() > 1 << 20 {
        // Damage can make an array large without making it wrong: look at its beginning.
        let shape: Vec<usize> = reader.shape().iter().map(|&n| n.min(8)).collect();
        return reader.read_region(&vec![0; shape.len()], &shape);
    }
    reader.read_all()
}

#[test]
fn truncated_files_are_refused() {
    let bytes = std::fs::read(golden("zstd_shuffle_f4")).unwrap();
    for len in (0..200).chain((200..bytes.len()).step_by(97)) {
        assert!(read_bytes(&bytes[..len]).is_err(), "{len} bytes");
    }
    let message = read_bytes(&bytes[..3000]).unwrap_err().to_string();
    assert!(message.contains(&format!("the header says {} bytes", bytes.len())), "{message}");
    assert!(message.contains("the file has 3000 bytes in all"), "{message}");
    let message = read_bytes(b"\x1f\x8b no array at all, and longer than that").unwrap_err().to_string();
    assert!(message.contains("not a Blosc2 (.b2nd) file: it begins with"), "{message}");
}

#[test]
fn damaged_files_never_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.b2nd");
    for name in ["zeros_and_runs_i2", "zstd_split_f4", "lz4_delta_i4", "blosclz_i1", "full_f4"] {
        let bytes = std::fs::read(golden(name)).unwrap();
        let dense = 0..bytes.len().min(260);
        for at in dense.chain((260..bytes.len()).step_by(191)) {
            for change in [1u8, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] ^= change;
                let _ = read_bytes_at(&path, &damaged);
            }
        }
    }
}

#[test]
fn huge_arrays_of_nothing_are_refused() {
    let layout = Layout { chunk: vec![1 << 30], block: vec![1 << 20] };
    let mut header = super::frame::Header {
        header_len: 0,
        frame_len: 0,
        chunks_len: 0,
        chunk_bytes: 1 << 30,
        block_bytes: 1 << 20,
        shape: vec![1 << 33],
        layout,
        element: ElementType::U8,
    };
    // An index of eight chunks, all of them zeros.
    let index =
        [&super::chunk::header_bytes(8, 64, 64, 96, true, false)[..], &[0, 0, 0, 0, 0, 0, 0, 0x81].repeat(8)];
    let tail = [index.concat(), super::frame::trailer()].concat();
    header.header_len = header.to_bytes(1 << 33, false).len() as u64;
    header.frame_len = header.header_len + tail.len() as u64;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.b2nd");
    std::fs::write(&path, [header.to_bytes(1 << 33, false), tail].concat()).unwrap();
    let reader = B2ndReader::open(&path).unwrap();
    assert_eq!(reader.read_region::<u8>(&[(1 << 33) - 3], &[3]).unwrap(), [0; 3]);
    let message = reader.read_all::<u8>().unwrap_err().to_string();
    assert!(
        message.contains("b2nd shape is [8589934592], expected at most 4294967296 bytes in this file"),
        "{message}"
    );
}

#[test]
fn lying_headers_are_refused() {
    let bytes = std::fs::read(golden("full_f4")).unwrap();
    let shape = bytes.windows(2).position(|w| w == [0x94, 0xd3]).unwrap() + 2;
    let mut huge = bytes.clone();
    // The first axis becomes 2^37 long.
    huge[shape..shape + 8].copy_from_slice(&(1u64 << 37).to_be_bytes());
    let message = read_bytes(&huge).unwrap_err().to_string();
    assert!(message.contains("number of chunks"), "{message}");
    let mut block = bytes.clone();
    block[53] = 0x7f;
    let message = read_bytes(&block).unwrap_err().to_string();
    assert!(message.contains("chunk and block bytes"), "{message}");
    let mut header = bytes;
    header[11] = 0x7f;
    let message = read_bytes(&header).unwrap_err().to_string();
    assert!(message.contains("header_len"), "{message}");
}

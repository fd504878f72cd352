//! NumPy `.npy` and `.npz` files, as far as the goldens use them (C order, little endian).

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

/// An array read from a `.npy` file, converted to f64.
#[derive(Debug, Clone)]
pub struct Array {
    /// Shape as stored.
    pub shape: Vec<usize>,
    /// NumPy's type string without byte order, e.g. `f4`.
    pub dtype: String,
    /// Elements in C order.
    pub data: Vec<f64>,
}

impl Array {
    /// Elements as f32.
    pub fn f32(&self) -> Vec<f32> {
        self.data.iter().map(|&v| v as f32).collect()
    }
}

/// Reads one `.npy` file.
pub fn read_npy(path: impl AsRef<Path>) -> Array {
    let path = path.as_ref();
    parse(&std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
}

/// Reads every array of a `.npz` file, by name without `.npy`.
pub fn read_npz(path: impl AsRef<Path>) -> BTreeMap<String, Array> {
    let path = path.as_ref();
    let file = std::fs::File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut archive = zip::ZipArchive::new(file).unwrap();
    (0..archive.len())
        .map(|i| {
            let mut entry = archive.by_index(i).unwrap();
            let name = entry.name().unwrap().trim_end_matches(".npy").to_owned();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            (name, parse(&bytes))
        })
        .collect()
}

fn parse(bytes: &[u8]) -> Array {
    assert_eq!(&bytes[..6], b"\x93NUMPY", "not a .npy file");
    let (header_len, start) = if bytes[6] == 1 {
        (u16::from_le_bytes([bytes[8], bytes[9]]) as usize, 10)
    } else {
        (u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]) as usize, 12)
    };
    let header = std::str::from_utf8(&bytes[start..start + header_len]).unwrap();
    assert!(header.contains("'fortran_order': False") || !header.contains("True"), "Fortran order: {header}");
    let field = |key: &str| header.split(key).nth(1).unwrap();
    let descr = field("'descr':").split('\'').nth(1).unwrap();
    assert!(!descr.starts_with('>'), "big endian: {descr}");
    let dtype = descr.trim_start_matches(['<', '|', '=']).to_owned();
    let shape: Vec<usize> = field("'shape':")
        .split(['(', ')'])
        .nth(1)
        .unwrap()
        .split(',')
        .filter_map(|s| s.trim().parse().ok())
        .collect();
    let body = &bytes[start + header_len..];
    macro_rules! convert {
        ($t:ty) => {
            body.chunks_exact(size_of::<$t>())
                .map(|c| <$t>::from_le_bytes(c.try_into().unwrap()) as f64)
                .collect()
        };
    }
    let data: Vec<f64> = match dtype.as_str() {
        "f8" => convert!(f64),
        "f4" => convert!(f32),
        "f2" => body.chunks_exact(2).map(|c| half::f16::from_le_bytes([c[0], c[1]]).to_f64()).collect(),
        "i8" => convert!(i64),
        "i4" => convert!(i32),
        "i2" => convert!(i16),
        "i1" => convert!(i8),
        "u8" => convert!(u64),
        "u4" => convert!(u32),
        "u2" => convert!(u16),
        "u1" | "b1" => convert!(u8),
        other => panic!("dtype {other}"),
    };
    assert_eq!(data.len(), shape.iter().product::<usize>(), "array size");
    Array { shape, dtype, data }
}

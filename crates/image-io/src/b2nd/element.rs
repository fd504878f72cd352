//! Number types of arrays and their bytes (little endian).

use half::f16;

/// Number types that are read and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ElementType {
    /// one byte, 0 or 1 (read as u8)
    Bool,
    /// signed 8 bit
    I8,
    /// signed 16 bit
    I16,
    /// signed 32 bit
    I32,
    /// signed 64 bit
    I64,
    /// unsigned 8 bit
    U8,
    /// unsigned 16 bit
    U16,
    /// unsigned 32 bit
    U32,
    /// unsigned 64 bit
    U64,
    /// half precision
    F16,
    /// single precision
    F32,
    /// double precision
    F64,
}

use ElementType as T;

const NAMES: [(ElementType, &str); 12] = [
    (T::Bool, "|b1"),
    (T::I8, "|i1"),
    (T::I16, "<i2"),
    (T::I32, "<i4"),
    (T::I64, "<i8"),
    (T::U8, "|u1"),
    (T::U16, "<u2"),
    (T::U32, "<u4"),
    (T::U64, "<u8"),
    (T::F16, "<f2"),
    (T::F32, "<f4"),
    (T::F64, "<f8"),
];

impl ElementType {
    /// Bytes per element.
    #[inline]
    pub fn size(self) -> usize {
        match self {
            T::Bool | T::I8 | T::U8 => 1,
            T::I16 | T::U16 | T::F16 => 2,
            T::I32 | T::U32 | T::F32 => 4,
            T::I64 | T::U64 | T::F64 => 8,
        }
    }

    /// numpy's type string, e.g. `<f4`.
    pub fn numpy(self) -> &'static str {
        NAMES.iter().find(|(t, _)| *t == self).map_or("", |(_, name)| name)
    }

    /// The type of numpy's type string; `None` for big endian and other types.
    pub(super) fn from_numpy(name: &str) -> Option<Self> {
        // For single bytes the byte order mark says nothing, and some writers leave it out altogether.
        let code = |name: &str| name.trim_start_matches(['<', '|', '=']).to_owned();
        NAMES.iter().find(|(_, n)| code(n) == code(name)).map(|(t, _)| *t)
    }
}

/// A number type in memory.
pub trait Element: Copy + Default + Send + Sync + 'static {
    /// Its type in files.
    const TYPE: ElementType;

    /// Whether every value of `stored` is also a value of this type.
    fn holds(stored: ElementType) -> bool;

    /// Converts the little endian bytes of as many elements of `stored` as `out` has. Values are kept; call
    /// only where [`holds`](Self::holds).
    fn decode(stored: ElementType, bytes: &[u8], out: &mut [Self]);

    /// Appends the little endian bytes of `values`.
    fn encode(values: &[Self], out: &mut Vec<u8>);
}

macro_rules! element {
    ($type:ty, $id:expr, [$($stored:ident($from:ty)),*]) => {
        impl Element for $type {
            const TYPE: ElementType = $id;

            fn holds(stored: ElementType) -> bool {
                matches!(stored, $(T::$stored)|*)
            }

            fn decode(stored: ElementType, bytes: &[u8], out: &mut [Self]) {
                match stored {
                    $(T::$stored => {
                        let (items, _) = bytes.as_chunks::<{ size_of::<$from>() }>();
                        for (value, item) in out.iter_mut().zip(items) {
                            *value = <$type>::from(<$from>::from_le_bytes(*item));
                        }
                    })*
                    _ => debug_assert!(false, "{stored:?} is not held"),
                }
            }

            fn encode(values: &[Self], out: &mut Vec<u8>) {
                out.extend(values.iter().flat_map(|v| v.to_le_bytes()));
            }
        }
    };
}

element!(i8, T::I8, [I8(i8)]);
element!(u8, T::U8, [U8(u8), Bool(u8)]);
element!(i16, T::I16, [I16(i16), I8(i8), U8(u8), Bool(u8)]);
element!(u16, T::U16, [U16(u16), U8(u8), Bool(u8)]);
element!(i32, T::I32, [I32(i32), I16(i16), U16(u16), I8(i8), U8(u8), Bool(u8)]);
element!(u32, T::U32, [U32(u32), U16(u16), U8(u8), Bool(u8)]);
element!(i64, T::I64, [I64(i64), I32(i32), U32(u32), I16(i16), U16(u16), I8(i8), U8(u8), Bool(u8)]);
element!(u64, T::U64, [U64(u64), U32(u32), U16(u16), U8(u8), Bool(u8)]);
element!(f16, T::F16, [F16(f16)]);
element!(f32, T::F32, [F32(f32), F16(f16), I16(i16), U16(u16), I8(i8), U8(u8), Bool(u8)]);
element!(
    f64,
    T::F64,
    [F64(f64), F32(f32), F16(f16), I32(i32), U32(u32), I16(i16), U16(u16), I8(i8), U8(u8), Bool(u8)]
);

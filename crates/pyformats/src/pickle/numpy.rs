//! Plain number types, numpy scalars and numpy arrays as bytes: little endian, C order.

use std::sync::Arc;

/// Plain number types of numpy and torch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dtype {
    /// one byte, 0 or 1
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
    /// IEEE half precision
    F16,
    /// the upper half of an f32 (torch only)
    Bf16,
    /// IEEE single precision
    F32,
    /// IEEE double precision
    F64,
}

impl Dtype {
    /// Bytes per element.
    pub fn size(self) -> usize {
        match self {
            Self::Bool | Self::I8 | Self::U8 => 1,
            Self::I16 | Self::U16 | Self::F16 | Self::Bf16 => 2,
            Self::I32 | Self::U32 | Self::F32 => 4,
            Self::I64 | Self::U64 | Self::F64 => 8,
        }
    }

    /// numpy's type code without byte order, e.g. `f8`. numpy has none for bfloat16.
    pub fn numpy_code(self) -> Option<&'static str> {
        Some(match self {
            Self::Bool => "b1",
            Self::I8 => "i1",
            Self::I16 => "i2",
            Self::I32 => "i4",
            Self::I64 => "i8",
            Self::U8 => "u1",
            Self::U16 => "u2",
            Self::U32 => "u4",
            Self::U64 => "u8",
            Self::F16 => "f2",
            Self::F32 => "f4",
            Self::F64 => "f8",
            Self::Bf16 => return None,
        })
    }

    /// The type of numpy's code, with or without a byte order mark in front.
    pub fn from_numpy_code(code: &str) -> Option<Self> {
        let code = code.trim_start_matches(['<', '>', '|', '=']);
        Self::NUMPY.into_iter().find(|d| d.numpy_code() == Some(code))
    }

    const NUMPY: [Self; 12] = [
        Self::Bool,
        Self::I8,
        Self::I16,
        Self::I32,
        Self::I64,
        Self::U8,
        Self::U16,
        Self::U32,
        Self::U64,
        Self::F16,
        Self::F32,
        Self::F64,
    ];

    /// Whether values are integers (bool is not).
    pub fn is_integer(self) -> bool {
        !matches!(self, Self::Bool | Self::F16 | Self::Bf16 | Self::F32 | Self::F64)
    }

    /// One element (`bytes` holds exactly [`size`](Self::size) of them) as f64.
    /// The number that `bytes` holds.
    pub fn to_f64(self, bytes: &[u8]) -> f64 {
        let wide = widen(bytes);
        match self {
            Self::F16 => half::f16::from_bits(wide as u16).to_f64(),
            Self::Bf16 => half::bf16::from_bits(wide as u16).to_f64(),
            Self::F32 => f32::from_bits(wide as u32).into(),
            Self::F64 => f64::from_bits(wide),
            Self::U64 => wide as f64,
            _ => self.to_i64(bytes) as f64,
        }
    }

    /// One element of an integer or bool type, sign extended.
    fn to_i64(self, bytes: &[u8]) -> i64 {
        let wide = widen(bytes);
        match self {
            Self::I8 => wide as i8 as i64,
            Self::I16 => wide as i16 as i64,
            Self::I32 => wide as i32 as i64,
            _ => wide as i64,
        }
    }
}

fn widen(bytes: &[u8]) -> u64 {
    let mut wide = [0u8; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(wide)
}

/// A numpy scalar, e.g. `numpy.float64(1.2)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Scalar {
    dtype: Dtype,
    bytes: [u8; 8],
}

impl Scalar {
    /// A scalar of `dtype` from its little endian bytes. `None` if their number is not the type's size.
    pub fn new(dtype: Dtype, le_bytes: &[u8]) -> Option<Self> {
        let mut bytes = [0u8; 8];
        bytes.get_mut(..le_bytes.len())?.copy_from_slice(le_bytes);
        (le_bytes.len() == dtype.size()).then_some(Self { dtype, bytes })
    }

    /// `numpy.float64`
    pub fn f64(value: f64) -> Self {
        Self { dtype: Dtype::F64, bytes: value.to_le_bytes() }
    }

    /// `numpy.float32`
    pub fn f32(value: f32) -> Self {
        Self { dtype: Dtype::F32, bytes: u64::from(value.to_bits()).to_le_bytes() }
    }

    /// `numpy.int64`
    pub fn i64(value: i64) -> Self {
        Self { dtype: Dtype::I64, bytes: value.to_le_bytes() }
    }

    /// The number type.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Little endian bytes, as many as the type has.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.dtype.size()]
    }

    /// The value as f64 (64-bit integers are rounded).
    pub fn as_f64(&self) -> f64 {
        self.dtype.to_f64(self.bytes())
    }

    /// The value of an integer type that fits.
    pub fn as_i64(&self) -> Option<i64> {
        let value = self.dtype.to_i64(self.bytes());
        (self.dtype.is_integer() && !(self.dtype == Dtype::U64 && value < 0)).then_some(value)
    }

    /// The value of the bool type.
    pub fn as_bool(&self) -> Option<bool> {
        (self.dtype == Dtype::Bool).then_some(self.bytes[0] != 0)
    }
}

/// A numpy array, C order, little endian. Copies share the bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct NdArray {
    dtype: Dtype,
    shape: Vec<usize>,
    data: Arc<[u8]>,
}

impl NdArray {
    /// An array of `shape` from little endian bytes in C order. `None` if their number does not fit.
    pub fn new(dtype: Dtype, shape: Vec<usize>, data: impl Into<Arc<[u8]>>) -> Option<Self> {
        let data = data.into();
        (byte_count(dtype, &shape)? == data.len()).then_some(Self { dtype, shape, data })
    }

    /// An `int64` array in C order. `None` if the number of elements does not fit the shape.
    pub fn from_i64s(shape: Vec<usize>, values: &[i64]) -> Option<Self> {
        Self::new(Dtype::I64, shape, values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>())
    }

    /// A `float64` array in C order. `None` if the number of elements does not fit the shape.
    pub fn from_f64s(shape: Vec<usize>, values: &[f64]) -> Option<Self> {
        Self::new(Dtype::F64, shape, values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>())
    }

    /// The number type.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Length of each axis.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Little endian bytes in C order.
    pub fn bytes(&self) -> &[u8] {
        &self.data
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.data.len() / self.dtype.size()
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// Elements in C order as f64.
    pub fn to_f64s(&self) -> Vec<f64> {
        self.data.chunks_exact(self.dtype.size()).map(|b| self.dtype.to_f64(b)).collect()
    }

    /// Elements in C order of an integer type that fit. `None` for other types.
    pub fn to_i64s(&self) -> Option<Vec<i64>> {
        if !self.dtype.is_integer() {
            return None;
        }
        let fits = |v: &i64| !(self.dtype == Dtype::U64 && *v < 0);
        let value = |b| Some(self.dtype.to_i64(b)).filter(fits);
        self.data.chunks_exact(self.dtype.size()).map(value).collect()
    }
}

/// Bytes of an array, `None` on overflow.
pub(crate) fn byte_count(dtype: Dtype, shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(dtype.size(), |a, &b| a.checked_mul(b))
}

/// Reverses the bytes of each element.
pub(crate) fn swap_bytes(dtype: Dtype, data: &mut [u8]) {
    if dtype.size() > 1 {
        data.chunks_exact_mut(dtype.size()).for_each(<[u8]>::reverse);
    }
}

/// Bytes of a Fortran-ordered array of `shape` in C order. `data` has exactly the array's size.
pub(crate) fn fortran_to_c(dtype: Dtype, shape: &[usize], data: &[u8]) -> Vec<u8> {
    let size = dtype.size();
    let mut strides = Vec::with_capacity(shape.len());
    let mut stride = size;
    for &length in shape {
        strides.push(stride);
        stride *= length;
    }
    let mut out = Vec::with_capacity(data.len());
    let mut index = vec![0usize; shape.len()];
    let mut source = 0;
    while out.len() < data.len() {
        out.extend_from_slice(&data[source..source + size]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            source += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            source -= strides[axis] * shape[axis];
            index[axis] = 0;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_keep_their_value() {
        assert_eq!(Scalar::f64(1.2000000476837158).as_f64(), 1.2000000476837158);
        assert_eq!(Scalar::f32(0.1).as_f64(), f64::from(0.1f32));
        assert_eq!(Scalar::new(Dtype::I16, &[0xfe, 0xff]).and_then(|s| s.as_i64()), Some(-2));
        assert_eq!(Scalar::new(Dtype::U64, &[0xff; 8]).and_then(|s| s.as_i64()), None);
        assert_eq!(Scalar::new(Dtype::I16, &[0; 4]), None);
        assert_eq!(Scalar::new(Dtype::F64, &[0; 9]), None);
    }

    #[test]
    fn arrays_check_their_size() {
        assert!(NdArray::new(Dtype::F32, vec![2, 3], vec![0; 24]).is_some());
        assert!(NdArray::new(Dtype::F32, vec![2, 3], vec![0; 23]).is_none());
        assert!(NdArray::new(Dtype::F32, vec![usize::MAX, 3], vec![0; 24]).is_none());
        let array = NdArray::from_i64s(vec![2, 2], &[1, -2, 3, 4]).unwrap();
        assert_eq!(array.to_i64s().unwrap(), [1, -2, 3, 4]);
        assert_eq!(array.to_f64s(), [1.0, -2.0, 3.0, 4.0]);
    }

    #[test]
    fn fortran_order_becomes_c_order() {
        // [[0, 1, 2], [3, 4, 5]] column by column.
        assert_eq!(fortran_to_c(Dtype::U8, &[2, 3], &[0, 3, 1, 4, 2, 5]), [0, 1, 2, 3, 4, 5]);
        assert_eq!(fortran_to_c(Dtype::U16, &[2, 1], &[1, 2, 3, 4]), [1, 2, 3, 4]);
        assert!(fortran_to_c(Dtype::U8, &[0, 3], &[]).is_empty());
    }
}

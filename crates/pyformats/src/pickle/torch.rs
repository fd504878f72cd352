//! References of a torch pickle to numbers that lie outside it.

use super::numpy::Dtype;

/// A run of numbers outside the pickle, by key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageRef {
    /// Number type; `None` for untyped storages, whose `numel` counts bytes.
    pub dtype: Option<Dtype>,
    /// Name of the storage, e.g. the `12` of the archive member `data/12`.
    pub key: String,
    /// Where it lay, e.g. `cpu` or `cuda:0`.
    pub device: String,
    /// Number of elements.
    pub numel: usize,
}

/// A strided view of a storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorRef {
    /// The numbers.
    pub storage: StorageRef,
    /// Number type of the elements.
    pub dtype: Dtype,
    /// First element, counted in elements.
    pub offset: usize,
    /// Length of each axis.
    pub shape: Vec<usize>,
    /// Step of each axis, counted in elements.
    pub stride: Vec<usize>,
    /// Whether autograd would track it.
    pub requires_grad: bool,
}

impl TensorRef {
    /// Number of elements, `None` on overflow.
    pub fn element_count(&self) -> Option<usize> {
        self.shape.iter().try_fold(1usize, |a, &b| a.checked_mul(b))
    }

    /// Whether the elements lie in C order without gaps.
    pub fn is_contiguous(&self) -> bool {
        self.stride.len() == self.shape.len() && {
            let mut expected = 1usize;
            self.shape.iter().zip(&self.stride).rev().all(|(&length, &stride)| {
                let fits = length <= 1 || stride == expected;
                expected = expected.saturating_mul(length.max(1));
                fits
            })
        }
    }

    /// One past the last element of the storage that is used, `None` on overflow.
    pub fn end(&self) -> Option<usize> {
        if self.shape.contains(&0) {
            return Some(self.offset);
        }
        let mut last = self.offset;
        for (&length, &stride) in self.shape.iter().zip(&self.stride) {
            last = last.checked_add((length - 1).checked_mul(stride)?)?;
        }
        last.checked_add(1)
    }
}

impl Dtype {
    /// torch's name of the type, e.g. `float32`.
    pub fn torch_name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::I8 => "int8",
            Self::I16 => "int16",
            Self::I32 => "int32",
            Self::I64 => "int64",
            Self::U8 => "uint8",
            Self::U16 => "uint16",
            Self::U32 => "uint32",
            Self::U64 => "uint64",
            Self::F16 => "float16",
            Self::Bf16 => "bfloat16",
            Self::F32 => "float32",
            Self::F64 => "float64",
        }
    }

    /// The type of torch's name.
    pub fn from_torch_name(name: &str) -> Option<Self> {
        let all = [
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
            Self::Bf16,
            Self::F32,
            Self::F64,
        ];
        all.into_iter().find(|d| d.torch_name() == name)
    }

    /// torch's storage class of the type, e.g. `FloatStorage`; the wider unsigned types have none.
    pub fn torch_storage(self) -> Option<&'static str> {
        Some(match self {
            Self::Bool => "BoolStorage",
            Self::I8 => "CharStorage",
            Self::I16 => "ShortStorage",
            Self::I32 => "IntStorage",
            Self::I64 => "LongStorage",
            Self::U8 => "ByteStorage",
            Self::F16 => "HalfStorage",
            Self::Bf16 => "BFloat16Storage",
            Self::F32 => "FloatStorage",
            Self::F64 => "DoubleStorage",
            Self::U16 | Self::U32 | Self::U64 => return None,
        })
    }

    /// The type of torch's storage class.
    pub fn from_torch_storage(name: &str) -> Option<Self> {
        let all = [
            Self::Bool,
            Self::I8,
            Self::I16,
            Self::I32,
            Self::I64,
            Self::U8,
            Self::F16,
            Self::Bf16,
            Self::F32,
            Self::F64,
        ];
        all.into_iter().find(|d| d.torch_storage() == Some(name))
    }
}

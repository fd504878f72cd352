//! Which instruction set the kernels use. Detected at run time; a caller can only lower it.

use crate::KernelError;

/// Instruction set levels, lowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CpuLevel {
    /// What the compiler makes of plain Rust for the baseline target.
    Portable,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// x86-64 with AVX-512 F, BW, DQ and VL.
    Avx512,
    /// AVX-512 with bf16 dot products.
    Avx512Bf16,
}

impl CpuLevel {
    /// All levels, lowest first, whether this machine has them or not.
    pub const ALL: [Self; 4] = [Self::Portable, Self::Avx2, Self::Avx512, Self::Avx512Bf16];

    /// The highest level of this machine.
    pub fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            let avx512 = avx2
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            if avx512 && is_x86_feature_detected!("avx512bf16") {
                return Self::Avx512Bf16;
            }
            if avx512 {
                return Self::Avx512;
            }
            if avx2 {
                return Self::Avx2;
            }
        }
        Self::Portable
    }

    /// Reads a level as users write it (`portable`, `avx2`, `avx512`, `avx512bf16`; case is ignored).
    ///
    /// # Errors
    /// [`KernelError::UnknownCpuLevel`] for any other text.
    pub fn parse(text: &str) -> Result<Self, KernelError> {
        let name = text.trim();
        Self::ALL
            .into_iter()
            .find(|level| level.name().eq_ignore_ascii_case(name))
            .ok_or_else(|| KernelError::UnknownCpuLevel(text.to_owned()))
    }

    /// The name that [`CpuLevel::parse`] reads.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Avx512Bf16 => "avx512bf16",
        }
    }

    /// All levels that this machine can run, lowest first. Tests loop over them.
    pub fn available() -> Vec<Self> {
        let highest = Self::detect();
        Self::ALL.into_iter().filter(|level| *level <= highest).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_unknown_ones_name_the_known() {
        let unknown = CpuLevel::parse("sse9").unwrap_err().to_string();
        for level in CpuLevel::ALL {
            assert_eq!(CpuLevel::parse(level.name()), Ok(level));
            assert!(unknown.contains(level.name()), "{unknown}");
        }
        assert_eq!(CpuLevel::parse(" AVX2 "), Ok(CpuLevel::Avx2));
        assert!(unknown.contains("sse9"), "{unknown}");
    }

    #[test]
    fn available_levels_end_with_the_detected_one() {
        let levels = CpuLevel::available();
        assert_eq!(levels[0], CpuLevel::Portable);
        assert_eq!(*levels.last().unwrap(), CpuLevel::detect());
    }
}

//! The instruction sets of the processor at hand, and the macro that compiles a kernel for each of them.

pub(crate) use crate::simd::kind::IsaKind;
#[cfg(target_arch = "aarch64")]
use crate::simd::neon::Neon;
use crate::simd::portable::Portable;
use crate::simd::vector::Simd;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
use crate::simd::wasm::Simd128;
#[cfg(target_arch = "x86_64")]
use crate::simd::{avx2::Avx2, avx512::Avx512};

/// An instruction set that this processor has.
///
/// ```
/// use dualad_kernels::Isa;
///
/// let best = Isa::best();
/// assert!(Isa::available().contains(&best));
/// println!("{best}");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Isa(pub(crate) IsaKind);

impl Isa {
    /// The form without special instructions, for every processor.
    pub const PORTABLE: Self = Self(IsaKind::Portable);

    /// Returns the instruction set that the calling code is compiled for.
    ///
    /// # Safety
    /// The processor has it, as for every method of [`Simd`].
    pub(crate) unsafe fn running<S: Simd>() -> Self {
        Self(S::KIND)
    }

    /// Returns every instruction set of this processor that there are kernels for, the slowest first.
    pub fn available() -> Vec<Self> {
        let mut available = vec![Self::PORTABLE];
        #[cfg(target_arch = "x86_64")]
        {
            if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
                available.push(Self(IsaKind::Avx2));
                if std::arch::is_x86_feature_detected!("avx512f") {
                    available.push(Self(IsaKind::Avx512));
                }
            }
        }
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        available.push(Self(IsaKind::Simd128));
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("neon") {
            available.push(Self(IsaKind::Neon));
        }
        available
    }

    /// Returns the fastest instruction set of [`Self::available`].
    pub fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            // The standard library caches the answers.
            if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
                let wider = std::arch::is_x86_feature_detected!("avx512f");
                return Self(if wider { IsaKind::Avx512 } else { IsaKind::Avx2 });
            }
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("neon") {
            return Self(IsaKind::Neon);
        }
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        return Self(IsaKind::Simd128);
        #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
        Self::PORTABLE
    }

    /// The elements of a vector, the vectors in a row of a tile, and the rows of a tile.
    fn sizes(self) -> [usize; 3] {
        fn of<S: Simd>() -> [usize; 3] {
            [S::LANES, S::VECTORS, S::ROWS]
        }
        match self.0 {
            IsaKind::Portable => of::<Portable>(),
            #[cfg(target_arch = "x86_64")]
            IsaKind::Avx2 => of::<Avx2>(),
            #[cfg(target_arch = "x86_64")]
            IsaKind::Avx512 => of::<Avx512>(),
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            IsaKind::Simd128 => of::<Simd128>(),
            #[cfg(target_arch = "aarch64")]
            IsaKind::Neon => of::<Neon>(),
        }
    }

    /// The elements of a vector.
    pub(crate) fn lanes(self) -> usize {
        self.sizes()[0]
    }

    /// The columns of a panel of packed weights.
    pub(crate) fn panel(self) -> usize {
        let [lanes, vectors, _] = self.sizes();
        lanes * vectors
    }

    /// The rows of a tile.
    pub(crate) fn rows(self) -> usize {
        self.sizes()[2]
    }
}

impl std::fmt::Display for Isa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            IsaKind::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            IsaKind::Avx2 => "AVX2 and FMA",
            #[cfg(target_arch = "x86_64")]
            IsaKind::Avx512 => "AVX-512",
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            IsaKind::Simd128 => "SIMD128",
            #[cfg(target_arch = "aarch64")]
            IsaKind::Neon => "NEON",
        })
    }
}

/// Compiles a kernel (a function over [`Simd`]) for each instruction set, and defines a function that takes an [`Isa`] and calls
/// the right one.
macro_rules! kernel {
    ($(#[$doc:meta])* $vis:vis unsafe fn $name:ident($($arg:ident: $type:ty),* $(,)?) = $body:ident) => {
        $(#[$doc])*
        #[allow(clippy::too_many_arguments)]
        $vis unsafe fn $name(isa: $crate::simd::isa::Isa, $($arg: $type),*) {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma")]
                #[allow(clippy::too_many_arguments)]
                unsafe fn avx2($($arg: $type),*) {
                    // SAFETY: the caller's promise; this function is compiled for the instruction set.
                    unsafe { $body::<$crate::simd::avx2::Avx2>($($arg),*) }
                }
                #[target_feature(enable = "avx512f,avx2,fma")]
                #[allow(clippy::too_many_arguments)]
                unsafe fn avx512($($arg: $type),*) {
                    // SAFETY: as above.
                    unsafe { $body::<$crate::simd::avx512::Avx512>($($arg),*) }
                }
                match isa.0 {
                    $crate::simd::isa::IsaKind::Portable => {}
                    // SAFETY: an `Isa` exists only for what the processor has; the rest is the caller's promise.
                    $crate::simd::isa::IsaKind::Avx2 => return unsafe { avx2($($arg),*) },
                    // SAFETY: as above.
                    $crate::simd::isa::IsaKind::Avx512 => return unsafe { avx512($($arg),*) },
                }
            }
            #[cfg(target_arch = "aarch64")]
            {
                #[target_feature(enable = "neon")]
                #[allow(clippy::too_many_arguments)]
                unsafe fn neon($($arg: $type),*) {
                    // SAFETY: the caller's promise; this function is compiled for the instruction set.
                    unsafe { $body::<$crate::simd::neon::Neon>($($arg),*) }
                }
                match isa.0 {
                    $crate::simd::isa::IsaKind::Portable => {}
                    // SAFETY: an `Isa` exists only for what the processor has; the rest is the caller's promise.
                    $crate::simd::isa::IsaKind::Neon => return unsafe { neon($($arg),*) },
                }
            }
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            if isa.0 == $crate::simd::isa::IsaKind::Simd128 {
                // SAFETY: the module is compiled for the instruction set; the rest is the caller's promise.
                return unsafe { $body::<$crate::simd::wasm::Simd128>($($arg),*) };
            }
            let _ = isa;
            // SAFETY: the portable form needs no special instructions; the rest is the caller's promise.
            unsafe { $body::<$crate::simd::portable::Portable>($($arg),*) }
        }
    };
}
pub(crate) use kernel;

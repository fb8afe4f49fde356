//! Vectors of f32: one trait, one file for each instruction set, and the choice among them when the program runs.
//!
//! Kernels are written once over [`Simd`]; [`kernel`] compiles them for each instruction set.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

pub(crate) use portable::Portable;
#[cfg(target_arch = "x86_64")]
pub(crate) use {avx2::Avx2, avx512::Avx512};

/// Vectors in a row of a tile: what a panel of packed weights is wide.
pub(crate) const VECTORS: usize = 2;

/// 1.5 * 2^23: adding it to a small number rounds to a whole one, which then stands in the low bits.
pub(crate) const ROUND: f32 = 12_582_912.0;

/// An instruction set's vectors of f32.
///
/// # Safety
/// Every method may use the instruction set: it must be called in a function that is compiled for it, on a processor that has
/// it. Pointers must be good for [`Self::LANES`] numbers, of any alignment.
pub(crate) trait Simd: Copy + 'static {
    /// A vector.
    type V: Copy;
    /// Numbers in a vector.
    const LANES: usize;
    /// Rows of a product's tile: with [`VECTORS`] vectors each, their sums fit the registers.
    const ROWS: usize;

    unsafe fn splat(x: f32) -> Self::V;
    unsafe fn load(from: *const f32) -> Self::V;
    unsafe fn store(to: *mut f32, x: Self::V);
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V;
    /// The larger; `b` where one is NaN.
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    /// The smaller; `b` where one is NaN.
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V;
    /// a * b + c, rounded once where the processor can.
    unsafe fn mul_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// Has a cache line fetched that will be read soon. Any pointer will do.
    unsafe fn prefetch(from: *const f32);
    /// The same for what is read at once.
    unsafe fn prefetch_near(from: *const f32);
    /// The same for what is written at once.
    unsafe fn prefetch_to_write(to: *const f32);
    /// 2^n of a number 1.5 * 2^23 + n, n a whole number from -126 to 127.
    unsafe fn power_of_two(shifted: Self::V) -> Self::V;
    /// `x` times that power, where `x` and the result are normal numbers.
    unsafe fn add_to_exponent(x: Self::V, shifted: Self::V) -> Self::V;
}

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
pub struct Isa(pub(crate) Kind);

/// Only [`Isa::available`] makes an [`Isa`] of one, after it has asked the processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Isa {
    /// What every processor can do.
    pub const PORTABLE: Self = Self(Kind::Portable);

    /// Every instruction set of this processor that there are kernels for, the plainest first.
    pub fn available() -> Vec<Self> {
        let mut available = vec![Self::PORTABLE];
        #[cfg(target_arch = "x86_64")]
        {
            if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
                available.push(Self(Kind::Avx2));
                if std::arch::is_x86_feature_detected!("avx512f") {
                    available.push(Self(Kind::Avx512));
                }
            }
        }
        available
    }

    /// The fastest of [`Self::available`].
    pub fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            // The answers are kept: asking costs nothing.
            if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
                let wider = std::arch::is_x86_feature_detected!("avx512f");
                return Self(if wider { Kind::Avx512 } else { Kind::Avx2 });
            }
        }
        Self::PORTABLE
    }

    /// Columns of a panel of packed weights.
    pub(crate) fn panel(self) -> usize {
        match self.0 {
            Kind::Portable => VECTORS * Portable::LANES,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => VECTORS * Avx2::LANES,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => VECTORS * Avx512::LANES,
        }
    }

    /// Rows of a tile.
    pub(crate) fn rows(self) -> usize {
        match self.0 {
            Kind::Portable => Portable::ROWS,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => Avx2::ROWS,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => Avx512::ROWS,
        }
    }
}

impl std::fmt::Display for Isa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            Kind::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => "AVX2 and FMA",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => "AVX-512",
        })
    }
}

/// Compiles a kernel, a function over [`Simd`], for each instruction set, and makes a function of it that takes an [`Isa`].
macro_rules! kernel {
    ($(#[$doc:meta])* $vis:vis unsafe fn $name:ident($($arg:ident: $type:ty),* $(,)?) = $body:ident) => {
        $(#[$doc])*
        #[allow(clippy::too_many_arguments)]
        $vis unsafe fn $name(isa: $crate::simd::Isa, $($arg: $type),*) {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma")]
                #[allow(clippy::too_many_arguments)]
                unsafe fn avx2($($arg: $type),*) {
                    // SAFETY: as the caller promises; the function is compiled for the instruction set.
                    unsafe { $body::<$crate::simd::Avx2>($($arg),*) }
                }
                #[target_feature(enable = "avx512f,avx2,fma")]
                #[allow(clippy::too_many_arguments)]
                unsafe fn avx512($($arg: $type),*) {
                    // SAFETY: as above.
                    unsafe { $body::<$crate::simd::Avx512>($($arg),*) }
                }
                match isa.0 {
                    $crate::simd::Kind::Portable => {}
                    // SAFETY: an `Isa` is only made of what the processor has; the rest is the caller's promise.
                    $crate::simd::Kind::Avx2 => return unsafe { avx2($($arg),*) },
                    // SAFETY: as above.
                    $crate::simd::Kind::Avx512 => return unsafe { avx512($($arg),*) },
                }
            }
            let _ = isa;
            // SAFETY: the portable form needs no instruction set; the rest is the caller's promise.
            unsafe { $body::<$crate::simd::Portable>($($arg),*) }
        }
    };
}
pub(crate) use kernel;

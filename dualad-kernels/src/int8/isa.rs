//! The instruction sets that products of bytes are compiled for.

#[cfg(target_arch = "aarch64")]
use crate::int8::arm::NeonDot;
use crate::int8::dot::Dot;
#[cfg(target_arch = "x86_64")]
use crate::int8::x86::{Avx512Vnni, AvxVnni};
#[cfg(target_arch = "x86_64")]
use crate::simd::avx2::Avx2;
use crate::simd::isa::{Isa, IsaKind};
use crate::simd::portable::Portable;
use crate::simd::vector::Simd;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
use crate::simd::wasm::Simd128;

/// The instructions of this processor that multiply bytes. Only [`Self::of`] makes one, after it has asked the processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DotIsa(pub(crate) DotKind);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DotKind {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    AvxVnni,
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    Simd128,
    #[cfg(target_arch = "aarch64")]
    NeonDot,
}

impl DotIsa {
    /// Returns the fastest form that an instruction set allows.
    pub(crate) fn of(isa: Isa) -> Self {
        Self(match isa.0 {
            IsaKind::Portable => DotKind::Portable,
            #[cfg(target_arch = "x86_64")]
            IsaKind::Avx512 if std::arch::is_x86_feature_detected!("avx512vnni") => DotKind::Avx512Vnni,
            #[cfg(target_arch = "x86_64")]
            IsaKind::Avx512 | IsaKind::Avx2 if std::arch::is_x86_feature_detected!("avxvnni") => DotKind::AvxVnni,
            #[cfg(target_arch = "x86_64")]
            IsaKind::Avx512 | IsaKind::Avx2 => DotKind::Avx2,
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            IsaKind::Simd128 => DotKind::Simd128,
            #[cfg(target_arch = "aarch64")]
            IsaKind::Neon if std::arch::is_aarch64_feature_detected!("dotprod") => DotKind::NeonDot,
            #[cfg(target_arch = "aarch64")]
            IsaKind::Neon => DotKind::Portable,
        })
    }

    /// Returns every form that this processor can run.
    #[cfg(test)]
    pub(crate) fn available() -> Vec<Self> {
        let mut available = vec![Self(DotKind::Portable)];
        #[cfg(target_arch = "x86_64")]
        {
            if Isa::available().into_iter().any(|isa| isa.0 == IsaKind::Avx2) {
                available.push(Self(DotKind::Avx2));
                if std::arch::is_x86_feature_detected!("avxvnni") {
                    available.push(Self(DotKind::AvxVnni));
                }
            }
        }
        let best = Self::of(Isa::best());
        if !available.contains(&best) {
            available.push(best);
        }
        available
    }

    /// The columns of a panel, the rows of a tile, and the bytes of a stored element.
    fn sizes(self) -> [usize; 4] {
        fn of<D: Dot>() -> [usize; 4] {
            [D::Floats::VECTORS * D::Floats::LANES, D::Floats::ROWS, size_of::<D::Element>(), D::GROUP]
        }
        match self.0 {
            DotKind::Portable => of::<Portable>(),
            #[cfg(target_arch = "x86_64")]
            DotKind::Avx2 => of::<Avx2>(),
            #[cfg(target_arch = "x86_64")]
            DotKind::AvxVnni => of::<AvxVnni>(),
            #[cfg(target_arch = "x86_64")]
            DotKind::Avx512Vnni => of::<Avx512Vnni>(),
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            DotKind::Simd128 => of::<Simd128>(),
            #[cfg(target_arch = "aarch64")]
            DotKind::NeonDot => of::<NeonDot>(),
        }
    }

    /// The columns of a panel of packed weights.
    pub(crate) fn panel(self) -> usize {
        self.sizes()[0]
    }

    /// The rows of a tile.
    pub(crate) fn rows(self) -> usize {
        self.sizes()[1]
    }

    /// The bytes of a stored element of a row.
    pub(crate) fn element(self) -> usize {
        self.sizes()[2]
    }

    /// The elements of a group.
    pub(crate) fn group(self) -> usize {
        self.sizes()[3]
    }
}

/// Compiles a kernel (a function over [`Dot`]) for each form, and defines a function that takes a [`DotIsa`] and calls the right one.
macro_rules! dot_kernel {
    ($(#[$doc:meta])* $vis:vis unsafe fn $name:ident($($arg:ident: $type:ty),* $(,)?) = $body:ident) => {
        $(#[$doc])*
        #[allow(clippy::too_many_arguments)]
        $vis unsafe fn $name(isa: $crate::int8::isa::DotIsa, $($arg: $type),*) {
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            use $crate::int8::isa::DotKind;
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma")]
                #[allow(clippy::too_many_arguments)]
                unsafe fn avx2($($arg: $type),*) {
                    // SAFETY: the caller's promise; this function is compiled for the instruction set.
                    unsafe { $body::<$crate::simd::avx2::Avx2>($($arg),*) }
                }
                #[target_feature(enable = "avxvnni,avx2,fma")]
                #[allow(clippy::too_many_arguments)]
                unsafe fn avx_vnni($($arg: $type),*) {
                    // SAFETY: as above.
                    unsafe { $body::<$crate::int8::x86::AvxVnni>($($arg),*) }
                }
                #[target_feature(enable = "avx512vnni,avx512f,avx2,fma")]
                #[allow(clippy::too_many_arguments)]
                unsafe fn avx512_vnni($($arg: $type),*) {
                    // SAFETY: as above.
                    unsafe { $body::<$crate::int8::x86::Avx512Vnni>($($arg),*) }
                }
                match isa.0 {
                    DotKind::Portable => {}
                    // SAFETY: a `DotIsa` exists only for what the processor has; the rest is the caller's promise.
                    DotKind::Avx2 => return unsafe { avx2($($arg),*) },
                    // SAFETY: as above.
                    DotKind::AvxVnni => return unsafe { avx_vnni($($arg),*) },
                    // SAFETY: as above.
                    DotKind::Avx512Vnni => return unsafe { avx512_vnni($($arg),*) },
                }
            }
            #[cfg(target_arch = "aarch64")]
            {
                #[target_feature(enable = "neon,dotprod")]
                #[allow(clippy::too_many_arguments)]
                unsafe fn neon($($arg: $type),*) {
                    // SAFETY: the caller's promise; this function is compiled for the instruction set.
                    unsafe { $body::<$crate::int8::arm::NeonDot>($($arg),*) }
                }
                if isa.0 == DotKind::NeonDot {
                    // SAFETY: a `DotIsa` exists only for what the processor has; the rest is the caller's promise.
                    return unsafe { neon($($arg),*) };
                }
            }
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            if isa.0 == $crate::int8::isa::DotKind::Simd128 {
                // SAFETY: the module is compiled for the instruction set; the rest is the caller's promise.
                return unsafe { $body::<$crate::simd::wasm::Simd128>($($arg),*) };
            }
            let _ = isa;
            // SAFETY: the portable form needs no special instructions; the rest is the caller's promise.
            unsafe { $body::<$crate::simd::portable::Portable>($($arg),*) }
        }
    };
}
pub(crate) use dot_kernel;

//! The files of kernels.

/// A file of `kernels/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    /// `adamw.cu`.
    AdamW,
    /// `aggregate.cu`.
    Aggregate,
    /// `attention.cu`.
    Attention,
    /// `layer_norm.cu`.
    LayerNorm,
    /// `memory.cu`.
    Memory,
    /// `random.cu`.
    Random,
    /// `score.cu`.
    Score,
}

#[cfg(any(feature = "metal", test))]
impl Source {
    /// The file's text, without the prelude that it includes.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::AdamW => include_str!("../kernels/adamw.cu"),
            Self::Aggregate => include_str!("../kernels/aggregate.cu"),
            Self::Attention => include_str!("../kernels/attention.cu"),
            Self::LayerNorm => include_str!("../kernels/layer_norm.cu"),
            Self::Memory => include_str!("../kernels/memory.cu"),
            Self::Random => include_str!("../kernels/random.cu"),
            Self::Score => include_str!("../kernels/score.cu"),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Panics unless the source declares the kernel.
    pub(crate) fn assert_declares(source: Source, kernel: &str) {
        let macros = source.text().split("KERNEL").filter_map(|part| part.split_once('(')?.1.split_once(','));
        let declared = macros.flat_map(|(name, _)| {
            ["float", "f16", "bf16"].into_iter().flat_map(move |dtype| {
                let name = name.replace("##T", dtype);
                [1, 2, 4, 8, 16].map(|vectors| name.replace("##_##V", &format!("_{vectors}")))
            })
        });
        assert!(declared.into_iter().any(|name| name == kernel), "{source:?} has no kernel {kernel}");
    }

    #[test]
    #[should_panic(expected = "Score has no kernel errors_float")]
    fn a_kernel_that_is_not_declared_is_found() {
        assert_declares(Source::Score, "errors_float");
    }
}

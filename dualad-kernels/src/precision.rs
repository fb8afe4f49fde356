//! The numbers that products multiply.

/// The numbers that matrix products and convolutions multiply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// 32-bit floating-point numbers.
    #[default]
    F32,
    /// 8-bit integers with exact sums. Weights have one scale for each output. Each row that is multiplied has its own scale, which
    /// follows from its smallest and its largest element.
    Int8,
}

impl Precision {
    /// Every precision.
    pub const ALL: [Self; 2] = [Self::F32, Self::Int8];

    /// Returns the name used on command lines and in files: `f32`, `int8`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Int8 => "int8",
        }
    }

    /// Returns the precision of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|precision| precision.name() == name)
    }
}

impl std::fmt::Display for Precision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

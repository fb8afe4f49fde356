//! The mask values that mark a defect.

/// The mask values that mark a defect. In a mask with colors, the brightest channel counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MaskRule {
    /// Only 255, or 65535 in a mask of 16 bits (MVTec AD).
    White,
    /// Every value except 0 (VisA). Also for masks of 0 and 1, and of palettes whose first color is black.
    NonZero,
    /// Every value from 128 on, or from 32768 on in a mask of 16 bits. For soft edges, and for masks in jpeg.
    Half,
    /// Every pixel whose alpha is at least 128, or 32768 in a mask of 16 bits; colors do not count. A mask without an alpha
    /// channel marks nothing.
    Alpha,
}

impl std::fmt::Display for MaskRule {
    /// Writes `white`, `non-zero`, `half` or `alpha`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::White => "white",
            Self::NonZero => "non-zero",
            Self::Half => "half",
            Self::Alpha => "alpha",
        })
    }
}

impl MaskRule {
    /// Returns whether this value of an 8-bit mask marks a defect. For [`MaskRule::Alpha`], it is the value of alpha.
    #[inline]
    pub fn marks(self, value: u8) -> bool {
        match self {
            Self::White => value == 255,
            Self::NonZero => value != 0,
            Self::Half | Self::Alpha => value >= 128,
        }
    }
}

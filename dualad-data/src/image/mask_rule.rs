//! The mask values that mark a defect.

/// Which values of a mask mark a defect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MaskRule {
    /// 255 alone, or 65535 in a mask of 16 bits (MVTec AD).
    White,
    /// Everything but 0 (VisA).
    NonZero,
}

impl MaskRule {
    /// Whether this value marks a defect.
    #[inline]
    pub fn marks(self, value: u8) -> bool {
        match self {
            Self::White => value == 255,
            Self::NonZero => value != 0,
        }
    }
}

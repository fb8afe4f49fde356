//! The mask values that mark a defect.

/// The mask values that mark a defect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MaskRule {
    /// Only 255, or 65535 in a mask of 16 bits (MVTec AD).
    White,
    /// Every value except 0 (VisA).
    NonZero,
}

impl MaskRule {
    /// Returns whether this value of an 8-bit mask marks a defect.
    #[inline]
    pub fn marks(self, value: u8) -> bool {
        match self {
            Self::White => value == 255,
            Self::NonZero => value != 0,
        }
    }
}

//! The product categories and their defects.

use std::fmt;

/// What is pictured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Category {
    /// Tablets under clear domes on foil.
    Blister,
    /// A circuit board with parts on it.
    Board,
    /// A plain-woven cloth.
    Fabric,
    /// A turned gear wheel, at any angle.
    Gear,
    /// A brushed metal plate.
    Plate,
}

impl Category {
    /// Every category, by name.
    pub const ALL: [Self; 5] = [Self::Blister, Self::Board, Self::Fabric, Self::Gear, Self::Plate];

    /// The name of its folder.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Blister => "blister",
            Self::Board => "board",
            Self::Fabric => "fabric",
            Self::Gear => "gear",
            Self::Plate => "plate",
        }
    }

    /// The defects that it can have, by name.
    pub const fn defects(self) -> &'static [Defect] {
        match self {
            Self::Blister => &[Defect::Dent, Defect::Missing, Defect::Swapped],
            Self::Board => &[Defect::Missing, Defect::Scratch, Defect::Swapped],
            Self::Fabric => &[Defect::Missing, Defect::Stain, Defect::Swapped],
            Self::Gear => &[Defect::Dent, Defect::Missing, Defect::Scratch, Defect::Stain],
            Self::Plate => &[Defect::Dent, Defect::Scratch, Defect::Stain],
        }
    }
}

impl fmt::Display for Category {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// What is wrong with a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Defect {
    /// A bowl or a bump pressed into the surface.
    Dent,
    /// A part that is not there: a tablet, a component, a thread, a tooth.
    Missing,
    /// A bright or dark line.
    Scratch,
    /// A blot of oil, water or rust.
    Stain,
    /// Another part than there should be: another tablet, two components exchanged, a thread of another color.
    Swapped,
}

impl Defect {
    /// The name of its folder.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dent => "dent",
            Self::Missing => "missing",
            Self::Scratch => "scratch",
            Self::Stain => "stain",
            Self::Swapped => "swapped",
        }
    }
}

impl fmt::Display for Defect {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

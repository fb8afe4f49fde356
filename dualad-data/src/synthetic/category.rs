//! The product categories and their defects.

use std::fmt;
use std::str::FromStr;

use crate::error::SyntheticError;

/// A product category.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Category {
    /// Tablets under clear domes on foil.
    Blister,
    /// A circuit board with parts on it.
    Board,
    /// A plain-woven cloth.
    Fabric,
    /// A machined gear wheel, at any angle.
    Gear,
    /// A brushed metal plate.
    Plate,
}

impl Category {
    /// Every category, by name.
    pub const ALL: [Self; 5] = [Self::Blister, Self::Board, Self::Fabric, Self::Gear, Self::Plate];

    /// Returns the name, which is that of its folder.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Blister => "blister",
            Self::Board => "board",
            Self::Fabric => "fabric",
            Self::Gear => "gear",
            Self::Plate => "plate",
        }
    }

    /// Returns the defects that it can have, by name.
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

/// A type of defect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Defect {
    /// A bowl or a bump pressed into the surface.
    Dent,
    /// A missing part: a tablet, a component, a thread, a tooth.
    Missing,
    /// A bright or dark line.
    Scratch,
    /// A blot of oil, water or rust.
    Stain,
    /// A wrong part: another tablet, two exchanged components, a thread of another color.
    Swapped,
}

impl Defect {
    /// Returns the name, which is that of its folder.
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

impl FromStr for Category {
    type Err = SyntheticError;

    fn from_str(name: &str) -> Result<Self, SyntheticError> {
        let found = Self::ALL.into_iter().find(|category| category.name() == name);
        found.ok_or_else(|| SyntheticError::UnknownCategory {
            name: name.to_owned(),
            available: Self::ALL.map(Self::name).join(", "),
        })
    }
}

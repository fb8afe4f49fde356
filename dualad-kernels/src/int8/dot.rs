//! The trait of an instruction set's products of bytes, and its portable form.

use crate::simd::portable::Portable;
use crate::simd::vector::{ROUND, Simd};

/// The elements of a row to whose multiple rows and weights are padded. Each [`Dot::GROUP`] divides it.
pub(crate) const ALIGN: usize = 4;

/// The products of 8-bit integers of an instruction set.
///
/// # Safety
/// As for [`Simd`].
pub(crate) trait Dot: Copy + 'static {
    /// The vectors of f32 of the instruction set.
    type Floats: Simd;
    /// A stored element of a row.
    type Element: Copy + 'static;
    /// A vector of [`Simd::LANES`] sums.
    type Sums: Copy;
    /// A group of a row's elements, the same one for every lane.
    type Group: Copy;
    /// A group of weights for each lane.
    type Line: Copy;
    /// The elements of a group: those that one step multiplies and adds up.
    const GROUP: usize;
    /// The number that is subtracted from an element when it is stored.
    const SHIFT: i32;

    unsafe fn load_sums(from: *const i32) -> Self::Sums;
    /// a * b in every lane.
    unsafe fn scale_sums(a: Self::Sums, b: i32) -> Self::Sums;
    unsafe fn to_floats(sums: Self::Sums) -> <Self::Floats as Simd>::V;
    unsafe fn load_group(from: *const Self::Element) -> Self::Group;
    /// Loads `LANES * GROUP` weights.
    unsafe fn load_line(from: *const i8) -> Self::Line;
    /// Adds the products of a group and a line: `sums + sum over the group of element * weight`.
    unsafe fn dot(sums: Self::Sums, group: Self::Group, line: Self::Line) -> Self::Sums;
    /// Loads a stored element q, from 0 to 255, for each lane.
    unsafe fn load_elements(from: *const Self::Element) -> <Self::Floats as Simd>::V;
    /// The largest of all lanes, which are not NaN.
    unsafe fn largest(x: <Self::Floats as Simd>::V) -> f32;
    /// Stores one element q for each lane, given 1.5 * 2^23 + q with an integer q from 0 to 255.
    unsafe fn store_elements(to: *mut Self::Element, shifted: <Self::Floats as Simd>::V);
}

const LANES: usize = Portable::LANES;

// SAFETY (of the blocks): the trait's contract makes the pointers valid.
impl Dot for Portable {
    type Floats = Self;
    type Element = u8;
    type Sums = [i32; LANES];
    type Group = [u8; 4];
    type Line = [[i8; 4]; LANES];
    const GROUP: usize = 4;
    const SHIFT: i32 = 0;

    #[inline(always)]
    unsafe fn load_sums(from: *const i32) -> Self::Sums {
        // SAFETY: above.
        unsafe { from.cast::<Self::Sums>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn scale_sums(a: Self::Sums, b: i32) -> Self::Sums {
        a.map(|a| a.wrapping_mul(b))
    }
    #[inline(always)]
    unsafe fn to_floats(sums: Self::Sums) -> <Self as Simd>::V {
        sums.map(|sum| sum as f32)
    }
    #[inline(always)]
    unsafe fn load_group(from: *const u8) -> Self::Group {
        // SAFETY: above.
        unsafe { from.cast::<Self::Group>().read() }
    }
    #[inline(always)]
    unsafe fn load_line(from: *const i8) -> Self::Line {
        // SAFETY: above.
        unsafe { from.cast::<Self::Line>().read() }
    }
    #[inline(always)]
    unsafe fn dot(mut sums: Self::Sums, group: Self::Group, line: Self::Line) -> Self::Sums {
        for lane in 0..LANES {
            for (element, weight) in group.into_iter().zip(line[lane]) {
                sums[lane] += i32::from(element) * i32::from(weight);
            }
        }
        sums
    }
    #[inline(always)]
    unsafe fn load_elements(from: *const u8) -> <Self as Simd>::V {
        // SAFETY: above.
        unsafe { from.cast::<[u8; LANES]>().read() }.map(f32::from)
    }
    #[inline(always)]
    unsafe fn largest(x: <Self as Simd>::V) -> f32 {
        x.into_iter().reduce(|a, b| if a > b { a } else { b }).unwrap_or_default()
    }
    #[inline(always)]
    unsafe fn store_elements(to: *mut u8, shifted: <Self as Simd>::V) {
        let elements = shifted.map(|x| (x.to_bits() - ROUND.to_bits()) as u8);
        // SAFETY: above.
        unsafe { to.cast::<[u8; LANES]>().write(elements) }
    }
}

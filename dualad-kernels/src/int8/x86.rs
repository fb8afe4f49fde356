//! Products of bytes on x86-64: VNNI with 512 and with 256 bits, and AVX2 without it.

use std::arch::x86_64::*;

use crate::int8::dot::Dot;
use crate::simd::avx2::Avx2;
use crate::simd::avx512::Avx512;

/// AVX-512 VNNI.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx512Vnni;

// SAFETY (of the blocks): the trait's contract makes the instructions available and the pointers valid.
impl Dot for Avx512Vnni {
    type Floats = Avx512;
    type Element = u8;
    type Sums = __m512i;
    type Group = __m512i;
    type Line = __m512i;
    const GROUP: usize = 4;
    const SHIFT: i32 = 0;

    #[inline(always)]
    unsafe fn load_sums(from: *const i32) -> __m512i {
        // SAFETY: above.
        unsafe { _mm512_loadu_si512(from.cast()) }
    }
    #[inline(always)]
    unsafe fn scale_sums(a: __m512i, b: i32) -> __m512i {
        // SAFETY: above.
        unsafe { _mm512_mullo_epi32(a, _mm512_set1_epi32(b)) }
    }
    #[inline(always)]
    unsafe fn to_floats(sums: __m512i) -> __m512 {
        // SAFETY: above.
        unsafe { _mm512_cvtepi32_ps(sums) }
    }
    #[inline(always)]
    unsafe fn load_group(from: *const u8) -> __m512i {
        // SAFETY: above.
        unsafe { _mm512_set1_epi32(from.cast::<i32>().read_unaligned()) }
    }
    #[inline(always)]
    unsafe fn load_line(from: *const i8) -> __m512i {
        // SAFETY: above.
        unsafe { _mm512_loadu_si512(from.cast()) }
    }
    #[inline(always)]
    unsafe fn dot(sums: __m512i, group: __m512i, line: __m512i) -> __m512i {
        // SAFETY: above.
        unsafe { _mm512_dpbusd_epi32(sums, group, line) }
    }
    #[inline(always)]
    unsafe fn load_elements(from: *const u8) -> __m512 {
        // SAFETY: above.
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(from.cast()))) }
    }
    #[inline(always)]
    unsafe fn largest(x: __m512) -> f32 {
        // SAFETY: above.
        unsafe { _mm512_reduce_max_ps(x) }
    }
    #[inline(always)]
    unsafe fn store_elements(to: *mut u8, shifted: __m512) {
        // The lowest byte of 1.5 * 2^23 + q is q.
        // SAFETY: above.
        unsafe { _mm_storeu_si128(to.cast(), _mm512_cvtepi32_epi8(_mm512_castps_si512(shifted))) }
    }
}

/// The types and methods that AVX-VNNI and AVX2 share: eight sums, and a group of 32 bits.
macro_rules! eight_lanes {
    () => {
        type Floats = Avx2;
        type Sums = __m256i;
        type Group = __m256i;
        type Line = __m256i;

        #[inline(always)]
        unsafe fn load_sums(from: *const i32) -> __m256i {
            // SAFETY: above.
            unsafe { _mm256_loadu_si256(from.cast()) }
        }
        #[inline(always)]
        unsafe fn scale_sums(a: __m256i, b: i32) -> __m256i {
            // SAFETY: above.
            unsafe { _mm256_mullo_epi32(a, _mm256_set1_epi32(b)) }
        }
        #[inline(always)]
        unsafe fn to_floats(sums: __m256i) -> __m256 {
            // SAFETY: above.
            unsafe { _mm256_cvtepi32_ps(sums) }
        }
        #[inline(always)]
        unsafe fn largest(x: __m256) -> f32 {
            // SAFETY: above.
            unsafe { largest_of_eight(x) }
        }
        #[inline(always)]
        unsafe fn load_group(from: *const Self::Element) -> __m256i {
            // SAFETY: above.
            unsafe { _mm256_set1_epi32(from.cast::<i32>().read_unaligned()) }
        }
    };
}

/// AVX-VNNI, on processors without AVX-512.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AvxVnni;

impl Dot for AvxVnni {
    type Element = u8;
    const GROUP: usize = 4;
    const SHIFT: i32 = 0;
    eight_lanes!();

    #[inline(always)]
    unsafe fn load_line(from: *const i8) -> __m256i {
        // SAFETY: above.
        unsafe { _mm256_loadu_si256(from.cast()) }
    }
    #[inline(always)]
    unsafe fn dot(sums: __m256i, group: __m256i, line: __m256i) -> __m256i {
        // SAFETY: above.
        unsafe { _mm256_dpbusd_avx_epi32(sums, group, line) }
    }
    #[inline(always)]
    unsafe fn load_elements(from: *const u8) -> __m256 {
        // SAFETY: above.
        unsafe { _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(from.cast()))) }
    }
    #[inline(always)]
    unsafe fn store_elements(to: *mut u8, shifted: __m256) {
        // SAFETY: above.
        unsafe {
            let words = low_words(shifted);
            _mm_storel_epi64(to.cast(), _mm_packus_epi16(words, words));
        }
    }
}

/// Returns q of every lane, given 1.5 * 2^23 + q with an integer q from 0 to 255.
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
unsafe fn low_words(shifted: __m256) -> __m128i {
    // SAFETY: the caller's promise.
    unsafe {
        let words = _mm256_and_si256(_mm256_castps_si256(shifted), _mm256_set1_epi32(0xffff));
        _mm_packus_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words))
    }
}

/// Returns the largest of all lanes.
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
unsafe fn largest_of_eight(x: __m256) -> f32 {
    // SAFETY: the caller's promise.
    unsafe {
        let four = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
        let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
        _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)))
    }
}

/// AVX2 without VNNI: its instruction for bytes saturates, so elements and weights are multiplied as 16-bit integers.
impl Dot for Avx2 {
    type Element = i16;
    const GROUP: usize = 2;
    const SHIFT: i32 = 0;
    eight_lanes!();

    #[inline(always)]
    unsafe fn load_line(from: *const i8) -> __m256i {
        // SAFETY: above.
        unsafe { _mm256_cvtepi8_epi16(_mm_loadu_si128(from.cast())) }
    }
    #[inline(always)]
    unsafe fn dot(sums: __m256i, group: __m256i, line: __m256i) -> __m256i {
        // SAFETY: above.
        unsafe { _mm256_add_epi32(sums, _mm256_madd_epi16(group, line)) }
    }
    #[inline(always)]
    unsafe fn load_elements(from: *const i16) -> __m256 {
        // SAFETY: above.
        unsafe { _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(_mm_loadu_si128(from.cast()))) }
    }
    #[inline(always)]
    unsafe fn store_elements(to: *mut i16, shifted: __m256) {
        // SAFETY: above.
        unsafe { _mm_storeu_si128(to.cast(), low_words(shifted)) }
    }
}

//! Weights as 8-bit integers, laid out once.

use std::ops::Range;
use std::sync::Arc;

use crate::int8::dot::ALIGN;
use crate::int8::isa::DotIsa;
use crate::memory::Buffer;
use crate::parallel::part;
use crate::simd::isa::Isa;

/// The largest weight as an integer.
const MAX: f32 = 127.0;
/// The most inputs: the sums of their products fit into 32 bits.
const MAX_INPUTS: usize = 1 << 16;
/// The fewest inputs of a segment for which quantizing costs less than the products gain.
const MIN_LENGTH: usize = 32;
/// The same for rows of several segments, which are the cells of one map with one scale. The first stages of ResNet-18 and ResNet-34, of 64
/// channels, lose most by it, and Winograd's method in f32 is nearly as fast there.
const MIN_MAP_LENGTH: usize = 65;

/// A weight matrix `[outputs, inputs]` with an optional bias as integers from -127 to 127, with one scale for each output. An input
/// row is made of segments of equal length, each padded to a multiple of four.
#[derive(Debug, Clone)]
pub(crate) struct PackedBytes {
    isa: DotIsa,
    outputs: usize,
    segments: usize,
    /// The inputs of a segment without its padding.
    length: usize,
    /// Panels of some outputs, each with one line for each group of inputs. Four weights are one element of the buffer.
    panels: Arc<Buffer>,
    /// The scale of each output, and 0 for padding.
    scales: Arc<[f32]>,
    /// The sum of each output's weights.
    sums: Arc<[i32]>,
    bias: Option<Arc<[f32]>>,
}

impl PackedBytes {
    /// Packs a matrix given by a function of output and input.
    ///
    /// # Panics
    /// If a side is 0 or there are more than 65,536 inputs.
    pub(crate) fn from_fn(
        isa: Isa,
        outputs: usize,
        [segments, length]: [usize; 2],
        bias: Option<&[f32]>,
        weight: impl Fn(usize, usize) -> f32,
    ) -> Self {
        let isa = DotIsa::of(isa);
        Self::for_dot(isa, outputs, [segments, length], bias, weight)
    }

    pub(crate) fn for_dot(
        isa: DotIsa,
        outputs: usize,
        [segments, length]: [usize; 2],
        bias: Option<&[f32]>,
        weight: impl Fn(usize, usize) -> f32,
    ) -> Self {
        assert!(outputs > 0 && segments > 0 && length > 0, "the sides of a packed matrix");
        assert!(segments * length <= MAX_INPUTS, "the inputs of a packed matrix");
        let (width, group, padded) = (isa.panel(), isa.group(), length.next_multiple_of(ALIGN));
        let columns = outputs.next_multiple_of(width);
        let mut panels = Buffer::zeros(columns * segments * padded / size_of::<f32>());
        let (mut scales, mut sums) = (vec![0.0; columns], vec![0; columns]);
        for output in 0..outputs {
            let weights: Vec<f32> = (0..segments * length).map(|input| weight(output, input)).collect();
            let largest = weights.iter().fold(0.0, |largest: f32, weight| largest.max(weight.abs()));
            // NaN if a weight is not finite, so that results are NaN too: `max` drops NaN.
            let finite: f32 = weights.iter().map(|weight| weight * 0.0).sum();
            let step = largest / MAX + finite;
            let inverse = if step > 0.0 { MAX / largest } else { 0.0 };
            scales[output] = step;
            let first = output / width * width * segments * padded + output % width * group;
            for (input, weight) in weights.into_iter().enumerate() {
                let weight = (weight * inverse).round().clamp(-MAX, MAX) as i8;
                sums[output] += i32::from(weight);
                let at = input / length * padded + input % length;
                let at = first + at / group * width * group + at % group;
                set_byte(&mut panels, at, weight);
            }
        }
        let bias = bias.map(|bias| {
            assert_eq!(bias.len(), outputs, "the bias of a packed matrix");
            let mut padded = bias.to_vec();
            padded.resize(columns, 0.0);
            padded.into()
        });
        Self { isa, outputs, segments, length, panels: panels.into(), scales: scales.into(), sums: sums.into(), bias }
    }

    /// Returns `true` if rows of these segments are worth it, and the sums of their products fit into 32 bits.
    pub(crate) fn suits([segments, length]: [usize; 2]) -> bool {
        let least = if segments == 1 { MIN_LENGTH } else { MIN_MAP_LENGTH };
        length >= least && segments * length <= MAX_INPUTS
    }

    pub(crate) fn isa(&self) -> DotIsa {
        self.isa
    }

    /// The length of an input row, without padding.
    pub(crate) fn inputs(&self) -> usize {
        self.segments * self.length
    }

    pub(crate) fn outputs(&self) -> usize {
        self.outputs
    }

    /// The elements of a segment with its padding.
    pub(crate) fn segment(&self) -> usize {
        self.length.next_multiple_of(ALIGN)
    }

    pub(crate) fn segments(&self) -> usize {
        self.segments
    }

    /// Returns a panel and those after it.
    pub(crate) fn panel(&self, panel: usize) -> *const i8 {
        let size = self.isa.panel() * self.segments * self.segment() / size_of::<f32>();
        self.panels[panel * size..].as_ptr().cast()
    }

    /// Returns the scales, the sums and the bias (or null) of a panel's outputs and of those after it.
    pub(crate) fn columns_of(&self, panel: usize) -> (*const f32, *const i32, *const f32) {
        let first = panel * self.isa.panel();
        let bias = self.bias.as_ref().map_or(std::ptr::null(), |bias| bias[first..].as_ptr());
        (self.scales[first..].as_ptr(), self.sums[first..].as_ptr(), bias)
    }

    /// Returns the panels of part `index` of `parts` nearly equal parts.
    pub(crate) fn panels(&self, parts: usize, index: usize) -> Range<usize> {
        part(self.outputs.div_ceil(self.isa.panel()), 1, parts, index)
    }

    /// Returns the columns of a panel that are not padding.
    pub(crate) fn columns(&self, panel: usize) -> usize {
        let width = self.isa.panel();
        width.min(self.outputs - panel * width)
    }
}

/// Sets one of the bytes in a buffer.
fn set_byte(buffer: &mut [f32], at: usize, byte: i8) {
    let element = &mut buffer[at / size_of::<f32>()];
    let mut bytes = element.to_bits().to_ne_bytes();
    bytes[at % size_of::<f32>()] = byte as u8;
    *element = f32::from_bits(u32::from_ne_bytes(bytes));
}

//! Weights that are laid out once for the tile kernel.

use std::ops::Range;
use std::sync::Arc;

use crate::memory::Buffer;
use crate::parallel::part;
use crate::simd::isa::Isa;

/// A weight matrix `[outputs, inputs]` with an optional bias, laid out for an instruction set: panels of some outputs, each with
/// one line of outputs for every input.
///
/// ```
/// use dualad_kernels::{Isa, Packed};
///
/// // Three inputs and two outputs, each with its bias.
/// let weights = Packed::new(Isa::best(), &[1.0, 0.0, 0.0, 0.0, 1.0, 1.0], 3, Some(&[0.5, 0.0]));
/// assert_eq!((weights.inputs(), weights.outputs()), (3, 2));
/// ```
#[derive(Debug, Clone)]
pub struct Packed {
    isa: Isa,
    inputs: usize,
    outputs: usize,
    panels: Arc<Buffer>,
    /// The index of the first panel's first element in the buffer.
    start: usize,
    bias: Option<Arc<Buffer>>,
}

impl Packed {
    /// Packs `weight`, `[outputs, inputs]` in row-major order.
    ///
    /// # Panics
    /// If `inputs` is 0 or does not divide the weight's length, if the weight is empty, or if the bias does not have one element
    /// for each output.
    pub fn new(isa: Isa, weight: &[f32], inputs: usize, bias: Option<&[f32]>) -> Self {
        assert!(
            inputs > 0 && !weight.is_empty() && weight.len().is_multiple_of(inputs),
            "the sides of a packed matrix"
        );
        let outputs = weight.len() / inputs;
        Self::from_fn(isa, outputs, inputs, bias, |output, input| weight[output * inputs + input])
    }

    /// Packs a matrix given by a function of output and input.
    pub(crate) fn from_fn(
        isa: Isa,
        outputs: usize,
        inputs: usize,
        bias: Option<&[f32]>,
        weight: impl Fn(usize, usize) -> f32,
    ) -> Self {
        let width = isa.panel();
        let mut panels = Buffer::zeros(outputs.next_multiple_of(width) * inputs);
        for (panel, lines) in panels.chunks_exact_mut(width * inputs).enumerate() {
            for (input, line) in lines.chunks_exact_mut(width).enumerate() {
                for (output, value) in (panel * width..outputs).zip(line) {
                    *value = weight(output, input);
                }
            }
        }
        let bias = bias.map(|bias| {
            assert_eq!(bias.len(), outputs, "the bias of a packed matrix");
            let mut padded = Buffer::zeros(outputs.next_multiple_of(width));
            padded[..outputs].copy_from_slice(bias);
            Arc::new(padded)
        });
        Self { isa, inputs, outputs, panels: panels.into(), start: 0, bias }
    }

    /// Moves small matrices into one buffer, so that they lie on large pages too. Results do not change.
    pub fn gather<'a>(all: impl IntoIterator<Item = &'a mut Self>) {
        /// The most elements of a matrix that is moved. A larger one has large pages of its own.
        const MAX_MOVED: usize = 1 << 20;
        let mut small: Vec<&mut Self> = all.into_iter().filter(|packed| packed.panels.len() <= MAX_MOVED).collect();
        let mut joined = Buffer::zeros(small.iter().map(|packed| packed.panels.len()).sum());
        let mut start = 0;
        for packed in &mut small {
            joined[start..start + packed.panels.len()].copy_from_slice(&packed.panels);
            packed.start = start;
            start += packed.panels.len();
            packed.panels = Arc::default();
        }
        let joined = Arc::new(joined);
        small.into_iter().for_each(|packed| packed.panels = Arc::clone(&joined));
    }

    /// The length of an input row.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// The length of an output row.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    pub(crate) fn isa(&self) -> Isa {
        self.isa
    }

    /// Returns a panel and those after it.
    pub(crate) fn panel(&self, panel: usize) -> &[f32] {
        let (width, end) =
            (self.isa.panel(), self.start + self.outputs.next_multiple_of(self.isa.panel()) * self.inputs);
        &self.panels[self.start + panel * width * self.inputs..end]
    }

    /// Returns the bias of a panel and of those after it, or null.
    pub(crate) fn bias(&self, panel: usize) -> *const f32 {
        match &self.bias {
            Some(bias) => bias[panel * self.isa.panel()..].as_ptr(),
            None => std::ptr::null(),
        }
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

//! What is run, on what, and how wide: the same for both kinds of device.

// What a launch says is read by what launches it.
#![cfg_attr(not(any(feature = "cuda", feature = "metal")), allow(dead_code))]

use candle_core::op::BackpropOp;
use candle_core::{CudaStorage, DType, Device, Layout, MetalStorage, Result, Storage, Tensor};

/// A file of kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// AdamW, and sums of squares.
    AdamW,
    /// Stage maps to tokens.
    Aggregate,
    /// Attention with the neighbour mask, forward and backward.
    Attention,
    /// Layer norm, forward and backward.
    LayerNorm,
    /// Unit rows and addressing, forward and backward.
    Memory,
    /// Dropout and pseudo anomalies.
    Random,
    /// Errors of tokens.
    Score,
}

/// Threads of a warp (on Metal, of a simdgroup).
const WARP: usize = 32;
/// Numbers of 32 bits that kernels have as parameters at most.
pub(crate) const WORDS: usize = 16;

/// A kernel with its parameters and its threads.
#[derive(Debug, Clone)]
pub struct Launch {
    pub(crate) source: Source,
    pub(crate) kernel: String,
    pub(crate) words: [u32; WORDS],
    set: usize,
    pub(crate) groups: [usize; 3],
    pub(crate) threads: usize,
    /// Bytes that a group's threads have in common.
    pub(crate) shared: usize,
    /// Tensors, the last ones given, that it changes.
    pub(crate) changed: usize,
}

impl Launch {
    /// A kernel by its name in the source, with one group of 256 threads and no parameters so far.
    pub fn new(source: Source, kernel: impl Into<String>) -> Self {
        let (words, kernel) = ([0; WORDS], kernel.into());
        Self { source, kernel, words, set: 0, groups: [1; 3], threads: 256, shared: 0, changed: 0 }
    }

    /// The next parameter, a whole number. More than 2^32 - 1 is refused when it runs.
    #[must_use]
    pub fn count(self, value: usize) -> Self {
        match u32::try_from(value) {
            Ok(value) => self.word(value),
            // No kernel has so many parameters: `check` finds it.
            Err(_) => Self { set: WORDS + 1, ..self },
        }
    }

    /// The next parameter, a real number.
    #[must_use]
    pub fn number(self, value: f64) -> Self {
        self.word((value as f32).to_bits())
    }

    /// The next parameter, whatever it is.
    #[must_use]
    pub fn word(mut self, value: u32) -> Self {
        if let Some(word) = self.words.get_mut(self.set) {
            *word = value;
        }
        self.set += 1;
        self
    }

    /// So many groups of so many threads, a multiple of 32, that have some floats in common.
    #[must_use]
    pub fn groups(self, groups: [usize; 3], threads: usize, floats: usize) -> Self {
        Self { groups, threads, shared: floats * size_of::<f32>(), ..self }
    }

    /// Changes so many of its inputs, the last ones.
    #[must_use]
    pub fn changes(self, changed: usize) -> Self {
        Self { changed, ..self }
    }

    /// A warp for each of so many rows.
    #[must_use]
    pub fn warps(self, rows: usize) -> Self {
        let threads = 4 * WARP;
        self.groups([rows.div_ceil(4), 1, 1], threads, 0)
    }

    /// At least so many threads.
    #[must_use]
    pub fn threads(self, count: usize) -> Self {
        let threads = 8 * WARP;
        self.groups([count.div_ceil(threads), 1, 1], threads, 0)
    }

    /// Whether the device may be asked for it: what it would refuse, or wrap around.
    fn check(&self) -> Result<()> {
        if self.set > WORDS {
            candle_core::bail!("{}: a size is beyond 2^32: use smaller batches", self.kernel);
        }
        let [_, rows, layers] = self.groups;
        if rows > u16::MAX.into() || layers > u16::MAX.into() || self.groups[0] > i32::MAX as usize {
            candle_core::bail!(
                "{}: {:?} groups are more than a device takes: use smaller batches",
                self.kernel,
                self.groups
            );
        }
        Ok(())
    }

    /// Runs on contiguous tensors of one device, of which it changes as many as [`Self::changes`] says, and makes tensors of some
    /// elements each, without a shape and without gradients.
    ///
    /// # Errors
    /// See the crate's.
    pub fn run(&self, inputs: &[&Tensor], outputs: &[(usize, DType)]) -> Result<Vec<Tensor>> {
        if inputs.iter().any(|input| !input.device().same_device(inputs[0].device())) {
            candle_core::bail!("{}: the tensors are on different devices", self.kernel);
        }
        let guards: Vec<_> = inputs.iter().map(|tensor| tensor.storage_and_layout()).collect();
        let counts = outputs.iter().map(|(count, _)| *count);
        let tensor = |(storage, count)| Tensor::from_storage(storage, count, BackpropOp::none(), false);
        match guards.first().map(|(storage, _)| &**storage) {
            Some(Storage::Cuda(_)) => {
                let parts = guards.iter().map(|(storage, layout)| cuda_part(storage, layout));
                let made = self.on_cuda(&parts.collect::<Result<Vec<_>>>()?, outputs)?;
                Ok(made.into_iter().map(Storage::Cuda).zip(counts).map(tensor).collect())
            }
            Some(Storage::Metal(_)) => {
                let parts = guards.iter().map(|(storage, layout)| metal_part(storage, layout));
                let made = self.on_metal(&parts.collect::<Result<Vec<_>>>()?, outputs)?;
                Ok(made.into_iter().map(Storage::Metal).zip(counts).map(tensor).collect())
            }
            _ => candle_core::bail!("{}: runs on a CUDA or Metal device only", self.kernel),
        }
    }

    /// As [`Self::run`], on what a custom operation gets.
    ///
    /// # Errors
    /// See the crate's.
    pub fn on_cuda(&self, inputs: &[(&CudaStorage, &Layout)], outputs: &[(usize, DType)]) -> Result<Vec<CudaStorage>> {
        self.check()?;
        #[cfg(feature = "cuda")]
        {
            crate::cuda::run(self, inputs, outputs)
        }
        #[cfg(not(feature = "cuda"))]
        {
            let _ = (inputs, outputs);
            candle_core::bail!("{}: built without the feature `cuda`", self.kernel)
        }
    }

    /// As [`Self::run`], on what a custom operation gets.
    ///
    /// # Errors
    /// See the crate's.
    pub fn on_metal(
        &self,
        inputs: &[(&MetalStorage, &Layout)],
        outputs: &[(usize, DType)],
    ) -> Result<Vec<MetalStorage>> {
        self.check()?;
        #[cfg(feature = "metal")]
        {
            crate::metal::run(self, inputs, outputs)
        }
        #[cfg(not(feature = "metal"))]
        {
            let _ = (inputs, outputs);
            candle_core::bail!("{}: built without the feature `metal`", self.kernel)
        }
    }
}

fn cuda_part<'a>(storage: &'a Storage, layout: &'a Layout) -> Result<(&'a CudaStorage, &'a Layout)> {
    match storage {
        Storage::Cuda(storage) => Ok((storage, layout)),
        _ => candle_core::bail!("a kernel's tensors must all be on the CUDA device"),
    }
}

fn metal_part<'a>(storage: &'a Storage, layout: &'a Layout) -> Result<(&'a MetalStorage, &'a Layout)> {
    match storage {
        Storage::Metal(storage) => Ok((storage, layout)),
        _ => candle_core::bail!("a kernel's tensors must all be on the Metal device"),
    }
}

/// What kernels' names end with for a type of numbers.
///
/// # Errors
/// [`candle_core::Error::Msg`] for a type that there are no kernels for.
pub fn suffix(dtype: DType) -> Result<&'static str> {
    match dtype {
        DType::F32 => Ok("float"),
        DType::F16 => Ok("f16"),
        DType::BF16 => Ok("bf16"),
        other => candle_core::bail!("there are kernels for f32, f16 and bf16, not for {other:?}"),
    }
}

/// Every kind of device: the CPU, and the first CUDA and Metal device or why there is none.
pub fn devices() -> [(&'static str, Result<Device>); 3] {
    [("CPU", Ok(Device::Cpu)), ("CUDA", Device::new_cuda_with_stream(0)), ("Metal", Device::new_metal(0))]
}

/// Where a contiguous tensor begins, in elements.
#[cfg(any(feature = "cuda", feature = "metal"))]
pub(crate) fn start(layout: &Layout, kernel: &str) -> Result<usize> {
    match layout.contiguous_offsets() {
        Some((start, _)) => Ok(start),
        None => candle_core::bail!("{kernel} needs contiguous tensors"),
    }
}

//! Feature aggregation: stage maps to stride-16 tokens (`docs/method.md`, section 2).

use candle_core::{DType, Tensor};

use crate::error::{Error, Result};
use crate::input::{check_input_size, is_supported};
use crate::stage::Stage;

/// Brings the stage maps `[batch, channels_i, rows_i, columns_i]` of an input of `[height, width]` pixels to the stride of tokens
/// ([`crate::Backbone::token_stride`]) and concatenates them over channels, in the order given. Returns tokens
/// `[batch, tokens, channels]`; the grid is read row by row.
///
/// The paper upsamples every map to the smaller of the first stage's stride and 16, concatenates them and pools the result. For each stage this equals
/// an average pool of kernel 16 / s for a stride s up to 16, and nearest-neighbor upsampling by s / 16 for a larger one. The
/// large concatenation is never computed. If a stride over 16 does not divide the input, the map's last row or column reaches beyond
/// the image and is cut off. Tokens of another stride are computed in the same way.
///
/// The result has the maps' dtype. Sums are computed in f32.
///
/// # Errors
/// [`Error::InputSize`] if a side of the input is not a positive multiple of `token_stride`. [`Error::FeatureMap`] if the numbers of maps and
/// stages differ, a map does not have its stage's shape for that input, neither its stride nor `token_stride` divides the other, or the maps do not have
/// one common floating-point dtype.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use dualad_backbones::{Backbone, aggregate};
///
/// let backbone = Backbone::ResNet18;
/// let stages = backbone.default_stages();
/// let [height, width] = [32, 48];
/// let maps = stages.iter().map(|stage| {
///     let [channels, rows, columns] = stage.map_shape(height, width);
///     Tensor::ones((1, channels, rows, columns), DType::F32, &Device::Cpu)
/// });
/// let maps = maps.collect::<Result<Vec<_>, _>>()?;
/// let tokens = aggregate(&maps, &stages, [height, width], backbone.token_stride())?;
/// assert_eq!(tokens.dims(), [1, 2 * 3, 64 + 128 + 256]);
/// # Ok::<(), dualad_backbones::Error>(())
/// ```
pub fn aggregate(
    maps: &[Tensor],
    stages: &[Stage],
    [height, width]: [usize; 2],
    token_stride: usize,
) -> Result<Tensor> {
    check_input_size(height, width, token_stride)?;
    let grid = [height / token_stride, width / token_stride];
    if maps.len() != stages.len() || maps.is_empty() {
        let reason = format!("{} maps were given for {} stages", maps.len(), stages.len());
        return Err(Error::FeatureMap { index: maps.len().min(stages.len()), reason });
    }
    for (index, (map, stage)) in maps.iter().zip(stages).enumerate() {
        check(map, stage, &maps[0], [height, width], token_stride)
            .map_err(|reason| Error::FeatureMap { index, reason })?;
    }
    // The GPU operation has no gradient.
    let needs_gradient = maps.iter().any(Tensor::track_op);
    if !needs_gradient && dualad_gpu::supports(&maps.iter().collect::<Vec<_>>()) {
        let maps: Vec<_> =
            maps.iter().zip(stages).map(|(map, stage)| dualad_gpu::StageMap { map, stride: stage.stride }).collect();
        return Ok(dualad_gpu::Aggregate { maps: &maps, grid, token_stride }.run()?);
    }
    plain(maps, stages, grid, token_stride)
}

/// Computes the tokens with candle's operations.
fn plain(maps: &[Tensor], stages: &[Stage], grid: [usize; 2], token_stride: usize) -> Result<Tensor> {
    let mut tokens = Vec::with_capacity(maps.len());
    for (map, stage) in maps.iter().zip(stages) {
        let map = to_token_stride(map, stage.stride, grid, token_stride)?;
        tokens.push(map.flatten_from(2)?.transpose(1, 2)?);
    }
    Ok(Tensor::cat(&tokens, 2)?.contiguous()?)
}

fn check(
    map: &Tensor,
    stage: &Stage,
    first: &Tensor,
    [height, width]: [usize; 2],
    token_stride: usize,
) -> Result<(), String> {
    let Stage { stride, .. } = *stage;
    if stride == 0 || (stride % token_stride != 0 && !token_stride.is_multiple_of(stride)) {
        return Err(format!("its stride {stride} and {token_stride} do not divide one another"));
    }
    let [channels, rows, columns] = stage.map_shape(height, width);
    if map.dtype() != first.dtype() || !is_supported(map.dtype()) {
        return Err(format!("its dtype is {:?}; all maps must have one, f16, bf16, f32 or f64", map.dtype()));
    }
    match *map.dims() {
        [batch, c, r, w] if [c, r, w] == [channels, rows, columns] && batch > 0 && batch == first.dims()[0] => Ok(()),
        ref found => Err(format!(
            "its shape is {found:?}, but stage {} of an input of {height}x{width} pixels has [batch, {channels}, \
             {rows}, {columns}], with the same positive batch for every map",
            stage.index
        )),
    }
}

fn to_token_stride(
    map: &Tensor,
    stride: usize,
    [rows, columns]: [usize; 2],
    token_stride: usize,
) -> candle_core::Result<Tensor> {
    if stride < token_stride {
        return map.to_dtype(DType::F32)?.avg_pool2d(token_stride / stride)?.to_dtype(map.dtype());
    }
    if stride == token_stride {
        return Ok(map.clone());
    }
    let scale = stride / token_stride;
    // Cells are gathered, not repeated: no tensor larger than the result is created, whatever the stride.
    let repeat = |count: usize| {
        let cells: Vec<u32> = (0..count).map(|cell| (cell / scale) as u32).collect();
        Tensor::from_vec(cells, count, map.device())
    };
    map.index_select(&repeat(rows)?, 2)?.index_select(&repeat(columns)?, 3)
}

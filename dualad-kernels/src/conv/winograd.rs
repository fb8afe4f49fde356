//! 3x3 convolutions with stride 1 by Winograd's minimal filtering (Lavin and Gray, "Fast Algorithms for Convolutional Neural
//! Networks", CVPR 2016). Tiles of the input and the weights are transformed and multiplied position by position, and the products
//! are transformed back. F(2x2, 3x3) needs 16 multiplications for 4 results instead of 36, F(4x4, 3x3) 36 for 16 instead of 144.

use std::ops::Range;

use crate::activation::Activation;
use crate::conv::shape::{ConvArgs, ConvShape, MapSize};
use crate::gemm::Packed;
use crate::gemm::store::TileEpilogue;
use crate::gemm::tile::{Lhs, PanelProduct, multiply_panels};
use crate::memory::with_scratch;
use crate::parallel::{SharedOut, part, run_tasks};
use crate::simd::isa::{Isa, kernel};
use crate::simd::math::activate;
use crate::simd::vector::Simd;

/// The elements of transformed input and products that a task holds at a time, unless [`MIN_TILES`] asks for more.
const GROUP: usize = 192 << 10;
/// The fewest tiles of a group if the transformed weights exceed the cache: it amortizes each load of the weights.
const MIN_TILES: usize = 54;
/// The most elements of transformed weights that stay in the cache beside the other data.
const MAX_CACHED_WEIGHTS: usize = 1 << 20;

/// The transformed weights of a 3x3 convolution.
#[derive(Debug, Clone)]
pub(crate) struct Winograd {
    isa: Isa,
    inputs: usize,
    outputs: usize,
    /// The output cells in a row of a tile: 2 or 4.
    results: usize,
    /// One matrix for each position of a transformed tile.
    positions: Vec<Packed>,
    bias: Vec<f32>,
}

/// The transform G of the weights for F(2x2, 3x3), and for F(4x4, 3x3) below: `results + 2` rows of 3.
const G2: [[f64; 3]; 4] = [[1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.0, 0.0, 1.0]];
const G4: [[f64; 3]; 6] = [
    [0.25, 0.0, 0.0],
    [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
    [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
    [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
    [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
    [0.0, 0.0, 1.0],
];

impl Winograd {
    /// Transforms `weight`, `[outputs, inputs, 3, 3]`. `size` is the usual size of the output.
    pub(crate) fn new(isa: Isa, shape: ConvShape, weight: &[f32], bias: &[f32], size: MapSize) -> Self {
        let ConvShape { inputs, outputs, .. } = shape;
        let results = faster(isa, shape, size);
        let g: &[[f64; 3]] = if results == 2 { &G2 } else { &G4 };
        let side = results + 2;
        let position = |position: usize| {
            let (down, right) = (g[position / side], g[position % side]);
            Packed::from_fn(isa, outputs, inputs, None, |output, input| {
                let kernel = &weight[(output * inputs + input) * 9..][..9];
                let mut sum = 0.0;
                for (cell, &value) in kernel.iter().enumerate() {
                    sum += down[cell / 3] * right[cell % 3] * f64::from(value);
                }
                sum as f32
            })
        };
        let padded = outputs.next_multiple_of(isa.panel());
        let mut padded_bias = bias.to_vec();
        padded_bias.resize(padded, 0.0);
        Self { isa, inputs, outputs, results, positions: (0..side * side).map(position).collect(), bias: padded_bias }
    }

    pub(crate) fn packed(&mut self) -> &mut [Packed] {
        &mut self.positions
    }

    pub(crate) fn run(&self, args: &ConvArgs<&[f32]>, y: &mut [f32]) {
        let out = args.output;
        let tiles = [out.rows.div_ceil(self.results), out.columns.div_ceil(self.results)];
        let count = out.batch * tiles[0] * tiles[1];
        let positions = self.positions.len();
        let threads = rayon::current_num_threads();
        // As many tiles at a time as fit into the cache, in multiples of the products' row count.
        let tile_rows = self.isa.rows();
        let many_weights = positions * self.inputs * self.outputs > MAX_CACHED_WEIGHTS;
        let least = if many_weights { MIN_TILES } else { tile_rows };
        let fitting = (GROUP / (positions * (self.inputs + self.outputs))).max(least);
        let groups = count.div_ceil(fitting).max(1);
        // Each thread computes its own groups. If there are few tiles or many weights, all threads compute one group after the
        // other, and each reads only the weights of its share of the outputs.
        let panels = self.outputs.div_ceil(self.isa.panel());
        let by_outputs = threads > 1 && (many_weights || count.div_ceil(tile_rows) < 2 * threads);
        let shared = SharedOut::new(y);
        let job = Job { winograd: self, args, out: shared, tiles };
        if by_outputs {
            (0..groups).for_each(|group| job.group(part(count, tile_rows, groups, group), threads.min(panels)));
        } else {
            let groups = if threads > 1 { groups.next_multiple_of(threads) } else { groups };
            run_tasks(groups, |group| job.group(part(count, tile_rows, groups, group), 1));
        }
    }
}

/// Returns the tile side, 2 or 4 results, with the lower estimated cost of multiplications and of loading the weights.
fn faster(isa: Isa, shape: ConvShape, size: MapSize) -> usize {
    let ConvShape { inputs, outputs, .. } = shape;
    let cost = |results: usize| {
        let tiles = size.batch.max(1) * size.rows.div_ceil(results) * size.columns.div_ceil(results);
        let positions = (results + 2) * (results + 2);
        let products = positions * tiles.next_multiple_of(isa.rows()) * inputs * outputs;
        // Loading a weight takes as long as some multiplications.
        products + 4 * positions * inputs * outputs
    };
    if cost(4) < cost(2) { 4 } else { 2 }
}

/// The convolution of a batch of maps.
struct Job<'a> {
    winograd: &'a Winograd,
    args: &'a ConvArgs<&'a [f32]>,
    out: SharedOut,
    /// The rows and columns of tiles in a map.
    tiles: [usize; 2],
}

impl Job<'_> {
    /// Returns the image of a tile, and the output row and column at which the tile begins.
    fn origin(&self, tile: usize) -> [usize; 3] {
        let [rows, columns] = self.tiles;
        let (image, cell) = (tile / (rows * columns), tile % (rows * columns));
        [image, cell / columns * self.winograd.results, cell % columns * self.winograd.results]
    }

    /// Computes some tiles, with the outputs divided among `shares` tasks.
    fn group(&self, tiles: Range<usize>, shares: usize) {
        let Winograd { isa, inputs, outputs, positions, .. } = self.winograd;
        let count = tiles.len();
        if count == 0 {
            return;
        }
        let panels = outputs.div_ceil(isa.panel());
        with_scratch(positions.len() * count * inputs, |transformed| {
            let shared = SharedOut::new(transformed);
            run_tasks(shares, |share| {
                for index in part(count, 1, shares, share) {
                    self.transform(tiles.start + index, shared, index * inputs, count * inputs);
                }
            });
            let transformed = &*transformed;
            run_tasks(shares, |share| self.outputs(tiles.clone(), transformed, part(panels, 1, shares, share)));
        });
    }

    /// Computes some panels of outputs from transformed tiles.
    fn outputs(&self, tiles: Range<usize>, transformed: &[f32], panels: Range<usize>) {
        let Winograd { isa, inputs, outputs, positions, .. } = self.winograd;
        let (count, width) = (tiles.len(), isa.panel());
        let (from, to) = (panels.start * width, (panels.end * width).min(*outputs));
        let columns = to.saturating_sub(from);
        if columns == 0 {
            return;
        }
        // The rows of the products are whole panels.
        let stride = panels.len() * width;
        with_scratch(positions.len() * count * stride, |products| {
            for (position, weights) in positions.iter().enumerate() {
                let lhs = &transformed[position * count * inputs..][..count * inputs];
                let products = &mut products[position * count * stride..][..count * stride];
                let weights = [Some(weights), positions.get(position + 1)];
                multiply(lhs, weights, panels.clone(), count, products, stride);
            }
            for (index, tile) in tiles.enumerate() {
                self.transform_back(tile, &products[index * stride..], count * stride, [from, columns]);
            }
        });
    }

    /// Transforms a tile of the input. The channels of each position are stored from element `first` on, the positions
    /// `position_stride` elements apart. No other task writes there.
    fn transform(&self, tile: usize, out: SharedOut, first: usize, position_stride: usize) {
        let Winograd { isa, inputs, results, positions, .. } = self.winograd;
        let [image, row, column] = self.origin(tile);
        let &ConvArgs { x: values, input, padding, .. } = self.args;
        let side = results + 2;
        let mut rows = [std::ptr::null(); 36];
        for (cell, pointer) in rows.iter_mut().enumerate().take(side * side) {
            let y = (row + cell / side).checked_sub(padding.top).filter(|&y| y < input.rows);
            let x = (column + cell % side).checked_sub(padding.left).filter(|&x| x < input.columns);
            if let (Some(y), Some(x)) = (y, x) {
                let at = ((image * input.rows + y) * input.columns + x) * inputs;
                *pointer = values[at..][..*inputs].as_ptr();
            }
        }
        let to = out.at(first, (positions.len() - 1) * position_stride + inputs);
        // SAFETY: each pointer is null or valid for the channels of the input; `to` is valid for them at each position, as `at`
        // checked.
        unsafe {
            if *results == 2 {
                forward2(*isa, &rows, *inputs, to, position_stride);
            } else {
                forward4(*isa, &rows, *inputs, to, position_stride);
            }
        }
    }

    /// Transforms the products of a tile back, for some columns from `first` on, and stores the results.
    fn transform_back(&self, tile: usize, from: &[f32], position_stride: usize, [first, columns]: [usize; 2]) {
        let Winograd { isa, outputs, results, positions, bias, .. } = self.winograd;
        let [image, row, column] = self.origin(tile);
        let &ConvArgs { output, residual, activation, .. } = self.args;
        let height = (*results).min(output.rows - row);
        let width = (*results).min(output.columns - column);
        let (mut out, mut residuals) = ([std::ptr::null_mut(); 16], [std::ptr::null(); 16]);
        for cell in 0..results * results {
            if cell / results < height && cell % results < width {
                let y = (image * output.rows + row + cell / results) * output.columns + column + cell % results;
                out[cell] = self.out.at(y * outputs + first, columns);
                if let Some(residual) = residual {
                    residuals[cell] = residual[y * outputs + first..][..columns].as_ptr();
                }
            }
        }
        let padded = columns.next_multiple_of(isa.panel());
        assert!((positions.len() - 1) * position_stride + padded <= from.len(), "the products of a tile");
        assert!(first + padded <= bias.len(), "the bias of a tile");
        let back = Back { columns, bias: bias[first..].as_ptr(), activation };
        // SAFETY: `from` is valid for whole panels of the columns at each position, and so is the bias, as asserted above; each
        // pointer of `out` and of the residuals is null or valid for the columns; no other task writes these cells and columns.
        unsafe {
            if *results == 2 {
                back2(*isa, from.as_ptr(), position_stride, &out, &residuals, &back);
            } else {
                back4(*isa, from.as_ptr(), position_stride, &out, &residuals, &back);
            }
        }
    }
}

/// Multiplies `count` contiguous rows by some panels, into rows that begin `stride` elements apart. `next` is the matrix that will
/// be used after this one; it is prefetched.
fn multiply(
    lhs: &[f32],
    [weights, next]: [Option<&Packed>; 2],
    panels: Range<usize>,
    count: usize,
    products: &mut [f32],
    stride: usize,
) {
    let Some(weights) = weights else { return };
    let (isa, inputs, width) = (weights.isa(), weights.inputs(), weights.isa().panel());
    assert!(count * inputs <= lhs.len(), "the left rows of a product");
    let shared = SharedOut::new(products);
    for (index, panel) in panels.clone().enumerate() {
        let following = if panel + 1 < panels.end {
            weights.panel(panel + 1).as_ptr()
        } else {
            next.map_or(std::ptr::null(), |next| next.panel(panels.start).as_ptr())
        };
        let job = PanelProduct {
            rows: count,
            lhs: Lhs::Dense { start: lhs.as_ptr(), stride: inputs },
            depth: inputs,
            panel: weights.panel(panel).as_ptr(),
            panels: 1,
            panel_stride: 0,
            last_columns: width,
            next_panel: following,
            epilogue: TileEpilogue {
                out: shared.at(index * width, (count - 1) * stride + width),
                stride,
                columns: width,
                accumulate: false,
                bias: std::ptr::null(),
                activation: Activation::Identity,
                residuals: std::ptr::null(),
                residual_last: false,
            },
            residual: std::ptr::null(),
            residual_stride: 0,
            period: 1,
            first: 0,
        };
        // SAFETY: there are `count` rows, as asserted above; the panel has a line for each input; `out` has whole panels in each
        // row; the next panel belongs to a matrix with as many inputs.
        unsafe { multiply_panels(isa, &job) };
    }
}

/// The epilogue of the transform back.
struct Back {
    columns: usize,
    bias: *const f32,
    activation: Activation,
}

kernel! {
    /// Transforms a tile of 4x4 cells.
    ///
    /// # Safety
    /// Each of the first 16 pointers is null, for zeros, or valid for `channels` elements; `to` is valid for as many at each of 16
    /// positions, which are `stride` elements apart.
    unsafe fn forward2(cells: &[*const f32; 36], channels: usize, to: *mut f32, stride: usize) = forward2_body
}
kernel! {
    /// Transforms a tile of 6x6 cells.
    ///
    /// # Safety
    /// The same as for [`forward2`], with 36 cells and positions instead of 16.
    unsafe fn forward4(cells: &[*const f32; 36], channels: usize, to: *mut f32, stride: usize) = forward4_body
}
kernel! {
    /// Transforms a tile of 4x4 products back to 2x2 results, adds bias and residual, and applies the activation.
    ///
    /// # Safety
    /// `from` is valid for whole panels of the columns at each of 16 positions, which are `stride` elements apart, and so is the
    /// bias; each of the first 4 pointers of `out` is null, for results outside the map, or valid for the columns, and so are the
    /// residuals.
    unsafe fn back2(
        from: *const f32, stride: usize, out: &[*mut f32; 16], residuals: &[*const f32; 16], back: &Back,
    ) = back2_body
}
kernel! {
    /// Transforms a tile of 6x6 products back to 4x4 results, like [`back2`].
    ///
    /// # Safety
    /// The same as for [`back2`], with 36 positions instead of 16 and 16 pointers instead of 4.
    unsafe fn back4(
        from: *const f32, stride: usize, out: &[*mut f32; 16], residuals: &[*const f32; 16], back: &Back,
    ) = back4_body
}

/// B^T of F(2, 3).
#[inline(always)]
unsafe fn transform_2<S: Simd>([a, b, c, d]: [S::V; 4]) -> [S::V; 4] {
    // SAFETY: the caller's promise.
    unsafe { [S::sub(a, c), S::add(b, c), S::sub(c, b), S::sub(b, d)] }
}

/// B^T of F(4, 3).
#[inline(always)]
unsafe fn transform_4<S: Simd>([a, b, c, d, e, f]: [S::V; 6]) -> [S::V; 6] {
    // SAFETY: the caller's promise.
    unsafe {
        let (minus_five, four, minus_four, two) = (S::splat(-5.0), S::splat(4.0), S::splat(-4.0), S::splat(2.0));
        let (even, odd) = (S::mul_add(minus_four, c, e), S::mul_add(minus_four, b, d));
        let (second, third) = (S::sub(e, c), S::mul(two, S::sub(d, b)));
        [
            S::mul_add(four, a, S::mul_add(minus_five, c, e)),
            S::add(even, odd),
            S::sub(even, odd),
            S::add(second, third),
            S::sub(second, third),
            S::mul_add(four, b, S::mul_add(minus_five, d, f)),
        ]
    }
}

/// A^T of F(2, 3).
#[inline(always)]
unsafe fn back_2<S: Simd>([a, b, c, d]: [S::V; 4]) -> [S::V; 2] {
    // SAFETY: the caller's promise.
    unsafe { [S::add(a, S::add(b, c)), S::sub(S::sub(b, c), d)] }
}

/// A^T of F(4, 3).
#[inline(always)]
unsafe fn back_4<S: Simd>([a, b, c, d, e, f]: [S::V; 6]) -> [S::V; 4] {
    // SAFETY: the caller's promise.
    unsafe {
        let (sum, difference) = (S::add(b, c), S::sub(b, c));
        let (far_sum, far_difference) = (S::add(d, e), S::sub(d, e));
        [
            S::add(a, S::add(sum, far_sum)),
            S::mul_add(S::splat(2.0), far_difference, difference),
            S::mul_add(S::splat(4.0), far_sum, sum),
            S::add(f, S::mul_add(S::splat(8.0), far_difference, difference)),
        ]
    }
}

macro_rules! transforms {
    ($forward:ident, $transform:ident, $back_body:ident, $back:ident, $side:literal, $results:literal) => {
        #[inline(always)]
        unsafe fn $forward<S: Simd>(cells: &[*const f32; 36], channels: usize, to: *mut f32, stride: usize) {
            // SAFETY: the caller's promise; a vector that would exceed the channels goes through a buffer.
            unsafe {
                let mut channel = 0;
                while channel < channels {
                    let whole = channel + S::LANES <= channels;
                    let load = |pointer: *const f32| {
                        if pointer.is_null() {
                            S::splat(0.0)
                        } else if whole {
                            S::load(pointer.add(channel))
                        } else {
                            load_partial::<S>(pointer.add(channel), channels - channel)
                        }
                    };
                    let mut half = [[S::splat(0.0); $side]; $side];
                    for column in 0..$side {
                        let line: [S::V; $side] = std::array::from_fn(|row| load(cells[row * $side + column]));
                        half[column] = $transform::<S>(line);
                    }
                    for row in 0..$side {
                        let line = $transform::<S>(std::array::from_fn(|column| half[column][row]));
                        for column in 0..$side {
                            let to = to.add((row * $side + column) * stride + channel);
                            if whole {
                                S::store(to, line[column]);
                            } else {
                                store_partial::<S>(to, line[column], channels - channel);
                            }
                        }
                    }
                    channel += S::LANES;
                }
            }
        }

        #[inline(always)]
        unsafe fn $back_body<S: Simd>(
            from: *const f32,
            stride: usize,
            out: &[*mut f32; 16],
            residuals: &[*const f32; 16],
            back: &Back,
        ) {
            // SAFETY: as above.
            unsafe {
                let mut channel = 0;
                while channel < back.columns {
                    let left = back.columns - channel;
                    let mut half = [[S::splat(0.0); $results]; $side];
                    for column in 0..$side {
                        let line: [S::V; $side] =
                            std::array::from_fn(|row| S::load(from.add((row * $side + column) * stride + channel)));
                        half[column] = $back::<S>(line);
                    }
                    let bias = S::load(back.bias.add(channel));
                    for row in 0..$results {
                        let line = $back::<S>(std::array::from_fn(|column| half[column][row]));
                        for column in 0..$results {
                            let cell = row * $results + column;
                            if out[cell].is_null() {
                                continue;
                            }
                            let mut value = S::add(line[column], bias);
                            if !residuals[cell].is_null() {
                                let residual = residuals[cell].add(channel);
                                let residual = if left >= S::LANES {
                                    S::load(residual)
                                } else {
                                    load_partial::<S>(residual, left)
                                };
                                value = S::add(value, residual);
                            }
                            value = activate::<S>(value, back.activation);
                            let to = out[cell].add(channel);
                            if left >= S::LANES { S::store(to, value) } else { store_partial::<S>(to, value, left) }
                        }
                    }
                    channel += S::LANES;
                }
            }
        }
    };
}

transforms!(forward2_body, transform_2, back2_body, back_2, 4, 2);
transforms!(forward4_body, transform_4, back4_body, back_4, 6, 4);

#[inline(never)]
unsafe fn load_partial<S: Simd>(from: *const f32, count: usize) -> S::V {
    let mut lanes = [0.0f32; 16];
    // SAFETY: the caller's pointer is valid for `count` elements, fewer than a vector has; the buffer holds the widest vector.
    unsafe {
        std::ptr::copy_nonoverlapping(from, lanes.as_mut_ptr(), count.min(S::LANES));
        S::load(lanes.as_ptr())
    }
}

#[inline(never)]
unsafe fn store_partial<S: Simd>(to: *mut f32, x: S::V, count: usize) {
    let mut lanes = [0.0f32; 16];
    // SAFETY: as above.
    unsafe {
        S::store(lanes.as_mut_ptr(), x);
        std::ptr::copy_nonoverlapping(lanes.as_ptr(), to, count.min(S::LANES));
    }
}

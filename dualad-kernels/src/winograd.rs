//! 3x3 convolutions in steps of one by Winograd's minimal filtering (Lavin and Gray, "Fast Algorithms for Convolutional Neural
//! Networks", CVPR 2016): squares of the input and the weights are transformed, multiplied position by position, and
//! the products transformed back. F(2x2, 3x3) needs 16 products for 4 results instead of 36, F(4x4, 3x3) 36 for 16 instead of
//! 144.

use crate::Activation;
use crate::convolution::Size;
use crate::math::activate;
use crate::memory::{Target, part, run_tasks, with_scratch};
use crate::product::Packed;
use crate::simd::{Isa, Simd, kernel};
use crate::tile::{Column, Finish, LeftColumn, column as column_of};

/// Numbers of transformed input and products that a task holds at a time, as far as [`AT_LEAST`] allows.
const GROUP: usize = 192 << 10;
/// Squares that weights are fetched for at least, where they are too many for the cache.
const AT_LEAST: usize = 54;
/// Numbers of weights that the cache holds beside everything else.
const CACHED: usize = 1 << 20;

/// Transformed weights.
#[derive(Debug, Clone)]
pub(crate) struct Winograd {
    isa: Isa,
    inputs: usize,
    outputs: usize,
    /// Results in a row of a square: 2 or 4.
    results: usize,
    /// One matrix for each position of a transformed square.
    positions: Vec<Packed>,
    bias: Vec<f32>,
}

/// The weights' transform G, `results + 2` rows of 3.
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
    /// `weight` is `[outputs, inputs, 3, 3]`.
    pub(crate) fn new(isa: Isa, [inputs, outputs]: [usize; 2], weight: &[f32], bias: &[f32], size: Size) -> Self {
        let results = faster(isa, [inputs, outputs], size);
        Self::with_results(isa, [inputs, outputs], weight, bias, results)
    }

    fn with_results(isa: Isa, [inputs, outputs]: [usize; 2], weight: &[f32], bias: &[f32], results: usize) -> Self {
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

    #[allow(clippy::too_many_arguments)]
    pub(crate) fn run(
        &self,
        x: &[f32],
        size: Size,
        padding: [usize; 2],
        y: &mut [f32],
        out: Size,
        residual: Option<&[f32]>,
        activation: Activation,
    ) {
        let tiles = [out.rows.div_ceil(self.results), out.columns.div_ceil(self.results)];
        let count = out.batch * tiles[0] * tiles[1];
        let square = self.positions.len();
        let threads = rayon::current_num_threads();
        // As many squares at a time as fit the cache, in whole tiles of the products.
        let tile_rows = self.isa.rows();
        let many_weights = square * self.inputs * self.outputs > CACHED;
        let least = if many_weights { AT_LEAST } else { tile_rows };
        let fitting = (GROUP / (square * (self.inputs + self.outputs))).max(least);
        let groups = count.div_ceil(fitting).max(1);
        // Threads have groups of their own; or, where there are few squares or many weights, each has some of the outputs of
        // one group after the other, and reads the weights of those alone.
        let panels = self.outputs.div_ceil(self.isa.panel());
        let by_outputs = threads > 1 && (many_weights || count.div_ceil(tile_rows) < 2 * threads);
        let target = Target::new(y);
        let job = Job { winograd: self, x, size, padding, target, out, tiles, residual, activation };
        if by_outputs {
            (0..groups).for_each(|group| job.group(part(count, tile_rows, groups, group), threads.min(panels)));
        } else {
            let groups = if threads > 1 { groups.next_multiple_of(threads) } else { groups };
            run_tasks(groups, |group| job.group(part(count, tile_rows, groups, group), 1));
        }
    }
}

/// Which of 2 and 4 results is to be expected to be faster: multiplications, and the weights' way through memory.
fn faster(isa: Isa, [inputs, outputs]: [usize; 2], size: Size) -> usize {
    let cost = |results: usize| {
        let tiles = size.batch.max(1) * size.rows.div_ceil(results) * size.columns.div_ceil(results);
        let positions = (results + 2) * (results + 2);
        let products = positions * tiles.next_multiple_of(isa.rows()) * inputs * outputs;
        // A weight is fetched in the time of some products.
        products + 4 * positions * inputs * outputs
    };
    if cost(4) < cost(2) { 4 } else { 2 }
}

/// One convolution of some maps.
struct Job<'a> {
    winograd: &'a Winograd,
    x: &'a [f32],
    size: Size,
    padding: [usize; 2],
    target: Target,
    out: Size,
    /// Rows and columns of squares in a map.
    tiles: [usize; 2],
    residual: Option<&'a [f32]>,
    activation: Activation,
}

impl Job<'_> {
    /// The row and column of the output at which a square begins, and its image.
    fn place(&self, square: usize) -> [usize; 3] {
        let [rows, columns] = self.tiles;
        let (image, cell) = (square / (rows * columns), square % (rows * columns));
        [image, cell / columns * self.winograd.results, cell % columns * self.winograd.results]
    }

    /// Some squares, the outputs shared out to so many tasks.
    fn group(&self, squares: std::ops::Range<usize>, shares: usize) {
        let Winograd { isa, inputs, outputs, positions, .. } = self.winograd;
        let count = squares.len();
        if count == 0 {
            return;
        }
        let panels = outputs.div_ceil(isa.panel());
        with_scratch(positions.len() * count * inputs, |transformed| {
            let target = Target::new(transformed);
            run_tasks(shares, |share| {
                for index in part(count, 1, shares, share) {
                    self.transform(squares.start + index, target, index * inputs, count * inputs);
                }
            });
            let transformed = &*transformed;
            run_tasks(shares, |share| self.outputs(squares.clone(), transformed, part(panels, 1, shares, share)));
        });
    }

    /// From transformed squares to some panels of outputs.
    fn outputs(&self, squares: std::ops::Range<usize>, transformed: &[f32], panels: std::ops::Range<usize>) {
        let Winograd { isa, inputs, outputs, positions, .. } = self.winograd;
        let (count, width) = (squares.len(), isa.panel());
        let (from, to) = (panels.start * width, (panels.end * width).min(*outputs));
        let columns = to.saturating_sub(from);
        if columns == 0 {
            return;
        }
        // Products are kept in whole vectors.
        let stride = panels.len() * width;
        with_scratch(positions.len() * count * stride, |products| {
            for (position, weights) in positions.iter().enumerate() {
                let left = &transformed[position * count * inputs..][..count * inputs];
                let products = &mut products[position * count * stride..][..count * stride];
                let weights = [Some(weights), positions.get(position + 1)];
                multiply(left, weights, panels.clone(), count, products, stride);
            }
            for (index, square) in squares.enumerate() {
                self.transform_back(square, &products[index * stride..], count * stride, [from, columns]);
            }
        });
    }

    /// Into numbers from `first` on, and as many at every position. No other task writes there.
    fn transform(&self, square: usize, target: Target, first: usize, position_stride: usize) {
        let Winograd { isa, inputs, results, positions, .. } = self.winograd;
        let [image, row, column] = self.place(square);
        let side = results + 2;
        let mut rows = [std::ptr::null(); 36];
        for (cell, pointer) in rows.iter_mut().enumerate().take(side * side) {
            let y = (row + cell / side).checked_sub(self.padding[0]).filter(|&y| y < self.size.rows);
            let x = (column + cell % side).checked_sub(self.padding[1]).filter(|&x| x < self.size.columns);
            if let (Some(y), Some(x)) = (y, x) {
                let at = ((image * self.size.rows + y) * self.size.columns + x) * inputs;
                *pointer = self.x[at..][..*inputs].as_ptr();
            }
        }
        let to = target.at(first, (positions.len() - 1) * position_stride + inputs);
        // SAFETY: each pointer is null or good for the input's channels, and `to` for them at each position, as `at` made sure.
        unsafe {
            if *results == 2 {
                forward2(*isa, &rows, *inputs, to, position_stride);
            } else {
                forward4(*isa, &rows, *inputs, to, position_stride);
            }
        }
    }

    fn transform_back(&self, square: usize, from: &[f32], position_stride: usize, [first, columns]: [usize; 2]) {
        let Winograd { isa, outputs, results, positions, bias, .. } = self.winograd;
        let [image, row, column] = self.place(square);
        let height = (*results).min(self.out.rows - row);
        let width = (*results).min(self.out.columns - column);
        let (mut out, mut residuals) = ([std::ptr::null_mut(); 16], [std::ptr::null(); 16]);
        for cell in 0..results * results {
            if cell / results < height && cell % results < width {
                let y = (image * self.out.rows + row + cell / results) * self.out.columns + column + cell % results;
                out[cell] = self.target.at(y * outputs + first, columns);
                if let Some(residual) = self.residual {
                    residuals[cell] = residual[y * outputs + first..][..columns].as_ptr();
                }
            }
        }
        let padded = columns.next_multiple_of(isa.panel());
        assert!((positions.len() - 1) * position_stride + padded <= from.len(), "a square of products");
        assert!(first + padded <= bias.len(), "a bias");
        let back = Back { columns, bias: bias[first..].as_ptr(), activation: self.activation };
        // SAFETY: `from` is good for whole vectors of the columns at each position and so is the bias, as asserted; each pointer
        // of `out` and of the residuals is null or good for the columns, and no other task writes to these cells and columns.
        unsafe {
            if *results == 2 {
                back2(*isa, from.as_ptr(), position_stride, &out, &residuals, &back);
            } else {
                back4(*isa, from.as_ptr(), position_stride, &out, &residuals, &back);
            }
        }
    }
}

/// `count` dense rows times some panels, into rows of `stride`. `next` is what will be multiplied after that.
fn multiply(
    left: &[f32],
    [weights, next]: [Option<&Packed>; 2],
    panels: std::ops::Range<usize>,
    count: usize,
    products: &mut [f32],
    stride: usize,
) {
    let Some(weights) = weights else { return };
    let (isa, inputs, width) = (weights.isa(), weights.inputs(), weights.isa().panel());
    assert!(count * inputs <= left.len(), "a product's left rows");
    let target = Target::new(products);
    for (index, panel) in panels.clone().enumerate() {
        let following = if panel + 1 < panels.end {
            weights.panel(panel + 1).as_ptr()
        } else {
            next.map_or(std::ptr::null(), |next| next.panel(panels.start).as_ptr())
        };
        let column = Column {
            rows: count,
            left: LeftColumn::Dense { start: left.as_ptr(), stride: inputs },
            depth: inputs,
            panel: weights.panel(panel).as_ptr(),
            panels: 1,
            panel_stride: 0,
            last_columns: width,
            next_panel: following,
            finish: Finish {
                out: target.at(index * width, (count - 1) * stride + width),
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
        // SAFETY: there are `count` rows of the inputs, as asserted, the panel has a line for each input, `out` has whole panels
        // in each row, and the next panel is one of a matrix with as many inputs.
        unsafe { column_of(isa, &column) };
    }
}

/// What the results go through.
struct Back {
    columns: usize,
    bias: *const f32,
    activation: Activation,
}

kernel! {
    /// Transforms a square of 4x4 cells.
    ///
    /// # Safety
    /// Each of the first 16 pointers is null, for zeros, or good for `channels` numbers; `to` is good for as many at each of 16
    /// positions, `stride` apart.
    unsafe fn forward2(cells: &[*const f32; 36], channels: usize, to: *mut f32, stride: usize) = forward2_body
}
kernel! {
    /// As [`forward2`], of 6x6 cells.
    ///
    /// # Safety
    /// As there, with 36 for 16.
    unsafe fn forward4(cells: &[*const f32; 36], channels: usize, to: *mut f32, stride: usize) = forward4_body
}
kernel! {
    /// Transforms a square of 4x4 products back to 2x2 results, adds bias and residual, and applies the activation.
    ///
    /// # Safety
    /// `from` is good for whole panels of the columns at each of 16 positions, `stride` apart, and so is the bias; the first 4
    /// pointers of `out` are null, for results beyond the map, or good for the columns, and so are the residuals.
    unsafe fn back2(
        from: *const f32, stride: usize, out: &[*mut f32; 16], residuals: &[*const f32; 16], back: &Back,
    ) = back2_body
}
kernel! {
    /// As [`back2`], 6x6 products to 4x4 results.
    ///
    /// # Safety
    /// As there, with 36 for 16 and 16 for 4.
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
            // SAFETY: the caller's promise; a vector that would go beyond the channels goes through a buffer.
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
                            load_few::<S>(pointer.add(channel), channels - channel)
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
                                store_few::<S>(to, line[column], channels - channel);
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
                                let residual =
                                    if left >= S::LANES { S::load(residual) } else { load_few::<S>(residual, left) };
                                value = S::add(value, residual);
                            }
                            value = activate::<S>(value, back.activation);
                            let to = out[cell].add(channel);
                            if left >= S::LANES { S::store(to, value) } else { store_few::<S>(to, value, left) }
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
unsafe fn load_few<S: Simd>(from: *const f32, count: usize) -> S::V {
    let mut lanes = [0.0f32; 16];
    // SAFETY: the caller's pointer is good for `count` numbers, fewer than a vector's; the buffer for the widest vector.
    unsafe {
        std::ptr::copy_nonoverlapping(from, lanes.as_mut_ptr(), count.min(S::LANES));
        S::load(lanes.as_ptr())
    }
}

#[inline(never)]
unsafe fn store_few<S: Simd>(to: *mut f32, x: S::V, count: usize) {
    let mut lanes = [0.0f32; 16];
    // SAFETY: as above.
    unsafe {
        S::store(lanes.as_mut_ptr(), x);
        std::ptr::copy_nonoverlapping(lanes.as_ptr(), to, count.min(S::LANES));
    }
}

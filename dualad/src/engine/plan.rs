//! A configuration as steps over buffers.
//!
//! A value is a matrix `[rows, columns]`, one row for each token of a group of images; a view is some of its columns.
//! Steps write views in order; backward goes through them from the last to the first.

use crate::config::{Branches, DualAdConfig, Variant};
use crate::engine::layout::Layout;
use crate::error::{Error, Result};

/// Columns of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) value: usize,
    pub(crate) start: usize,
    pub(crate) columns: usize,
}

/// An input of a step, and whether its gradient has been written before the step's backward adds to it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Input {
    pub(crate) view: View,
    pub(crate) adds: bool,
    /// The network's input needs no gradient.
    pub(crate) wanted: bool,
}

/// What is added to each row of a product.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bias {
    /// The same to every row: its offset among the parameters.
    Row(usize),
    /// A row for each token of the grid, with its position's projection in it: a table's number.
    Table(usize),
}

/// What follows a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    Nothing,
    Rectify,
    /// ReLU, then the dropout of this number.
    RectifyAndDrop(usize),
}

/// y = x W^T + bias.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Linear {
    pub(crate) x: Input,
    pub(crate) y: View,
    /// `[y's columns, x's columns]`: its offset among the parameters.
    pub(crate) weight: usize,
    pub(crate) bias: Bias,
    pub(crate) after: After,
}

/// y = softmax attention of q over k and v.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attention {
    pub(crate) q: View,
    pub(crate) k: View,
    pub(crate) v: View,
    pub(crate) y: View,
}

/// y = LN(x + dropout(r)); r becomes the sum.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AddNorm {
    pub(crate) x: Input,
    pub(crate) r: View,
    pub(crate) y: View,
    pub(crate) weight: usize,
    pub(crate) bias: usize,
    pub(crate) drop: usize,
    /// Which of the norms this is.
    pub(crate) index: usize,
}

/// y = memory read of x.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    pub(crate) x: Input,
    pub(crate) y: View,
    pub(crate) slots: usize,
    pub(crate) index: usize,
}

/// One step of the network.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Linear(Linear),
    Attention(Attention),
    AddNorm(AddNorm),
    Memory(Memory),
    /// y = sum of the views.
    Sum(Vec<Input>, View),
    /// y = parameters `[tokens, columns]` from an offset on, for each image: learned queries.
    Constant(usize, View),
}

/// Biases with positions: `[tokens, columns]`, bias + position W^T in the first `placed` columns.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Table {
    /// Of the wide-shallow branch: positions are projected to its width first.
    pub(crate) wide: bool,
    pub(crate) columns: usize,
    pub(crate) placed: usize,
    pub(crate) weight: usize,
    pub(crate) bias: usize,
}

/// The whole network.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Columns of each value.
    pub(crate) values: Vec<usize>,
    pub(crate) steps: Vec<Step>,
    pub(crate) tables: Vec<Table>,
    pub(crate) input: usize,
    pub(crate) output: usize,
    /// Columns of each dropout, in the order in which the plain form draws their streams.
    pub(crate) drops: Vec<usize>,
    /// Columns of each norm.
    pub(crate) norms: Vec<usize>,
    /// Offsets of the memories' slots.
    pub(crate) memories: Vec<usize>,
    /// Offsets of the row and the column embedding.
    pub(crate) position: Option<[usize; 2]>,
    /// Offsets of weight and bias of its projection to the wide-shallow branch's width.
    pub(crate) wide_position: Option<[usize; 2]>,
}

impl Plan {
    /// Whether a plan for such a network can be trained with: there is one for every network to infer with.
    pub(crate) fn can_train(config: &DualAdConfig) -> bool {
        config.variant == Variant::Heterogeneous && config.branches != Branches::NarrowDeep
    }

    pub(crate) fn new(config: &DualAdConfig, layout: &Layout) -> Result<Self> {
        let mut build = Build { layout, plan: Self::empty(), wide: false };
        build.network(config)?;
        let mut plan = build.plan;
        plan.mark_first_writers();
        Ok(plan)
    }

    fn empty() -> Self {
        Self {
            values: Vec::new(),
            steps: Vec::new(),
            tables: Vec::new(),
            input: 0,
            output: 0,
            drops: Vec::new(),
            norms: Vec::new(),
            memories: Vec::new(),
            position: None,
            wide_position: None,
        }
    }

    /// Backward runs from the last step to the first: who is first to write a gradient sets it, the others add.
    fn mark_first_writers(&mut self) {
        let mut written: Vec<Vec<bool>> = self.values.iter().map(|&columns| vec![false; columns]).collect();
        let network_input = self.input;
        let mut mark = |input: &mut Input| {
            let View { value, start, columns } = input.view;
            let columns = &mut written[value][start..start + columns];
            input.adds = columns.iter().all(|&written| written);
            columns.fill(true);
            input.wanted = value != network_input;
        };
        for step in self.steps.iter_mut().rev() {
            match step {
                Step::Linear(linear) => mark(&mut linear.x),
                Step::AddNorm(norm) => mark(&mut norm.x),
                Step::Memory(memory) => mark(&mut memory.x),
                Step::Sum(inputs, _) => inputs.iter_mut().for_each(&mut mark),
                // Nothing else reads its q, k and v; a constant has no inputs.
                Step::Attention(_) | Step::Constant(..) => {}
            }
        }
    }
}

struct Build<'a> {
    layout: &'a Layout,
    plan: Plan,
    /// Whether what is being built is the wide-shallow branch.
    wide: bool,
}

fn whole(value: usize, columns: usize) -> View {
    View { value, start: 0, columns }
}

fn input(view: View) -> Input {
    Input { view, adds: false, wanted: true }
}

impl Build<'_> {
    fn value(&mut self, columns: usize) -> View {
        self.plan.values.push(columns);
        whole(self.plan.values.len() - 1, columns)
    }

    fn offset(&self, name: &str) -> Result<usize> {
        self.layout.offset(name).ok_or_else(|| Error::Parameter { name: name.into(), reason: "is missing".into() })
    }

    fn linear(&mut self, x: View, columns: usize, name: &str, after: After) -> Result<View> {
        let y = self.value(columns);
        let (weight, bias) = (self.offset(&format!("{name}.weight"))?, self.offset(&format!("{name}.bias"))?);
        self.plan.steps.push(Step::Linear(Linear { x: input(x), y, weight, bias: Bias::Row(bias), after }));
        Ok(y)
    }

    /// Several projections of one input, the first `placed` columns with the input's position.
    fn placed_linear(&mut self, x: View, columns: usize, placed: usize, name: &str) -> Result<View> {
        let y = self.value(columns);
        let (weight, bias) = (self.offset(&format!("{name}.weight"))?, self.offset(&format!("{name}.bias"))?);
        let wide = self.wide;
        self.plan.tables.push(Table { wide, columns, placed, weight, bias });
        let bias = Bias::Table(self.plan.tables.len() - 1);
        self.plan.steps.push(Step::Linear(Linear { x: input(x), y, weight, bias, after: After::Nothing }));
        Ok(y)
    }

    fn drop(&mut self, columns: usize) -> usize {
        self.plan.drops.push(columns);
        self.plan.drops.len() - 1
    }

    /// LN(x + dropout(r)), into `y` or a value of its own.
    fn add_norm(&mut self, x: View, r: View, drop: usize, y: Option<View>, name: &str) -> Result<View> {
        let y = match y {
            Some(y) => y,
            None => self.value(x.columns),
        };
        let (weight, bias) = (self.offset(&format!("{name}.weight"))?, self.offset(&format!("{name}.bias"))?);
        self.plan.norms.push(x.columns);
        let index = self.plan.norms.len() - 1;
        self.plan.steps.push(Step::AddNorm(AddNorm { x: input(x), r, y, weight, bias, drop, index }));
        Ok(y)
    }

    /// Attention with its output projection: `query` over `context`, which may be the same.
    fn attention(&mut self, query: View, context: View, name: &str) -> Result<View> {
        let d = query.columns;
        let part = |view: View, index: usize| View { start: view.start + index * d, columns: d, ..view };
        let (q, k, v) = if query == context {
            let all = self.placed_linear(query, 3 * d, 2 * d, &format!("{name}.q_proj"))?;
            (part(all, 0), part(all, 1), part(all, 2))
        } else {
            let q = self.placed_linear(query, d, d, &format!("{name}.q_proj"))?;
            let pair = self.placed_linear(context, 2 * d, d, &format!("{name}.k_proj"))?;
            (q, part(pair, 0), part(pair, 1))
        };
        let y = self.value(d);
        self.plan.steps.push(Step::Attention(Attention { q, k, v, y }));
        self.linear(y, d, &format!("{name}.out_proj"), After::Nothing)
    }

    fn feed_forward(&mut self, x: View, hidden: usize, name: &str) -> Result<View> {
        let drop = self.drop(hidden);
        let hidden = self.linear(x, hidden, &format!("{name}.fc1"), After::RectifyAndDrop(drop))?;
        self.linear(hidden, x.columns, &format!("{name}.fc2"), After::Nothing)
    }

    fn encoder_layer(&mut self, x: View, hidden: usize, name: &str) -> Result<View> {
        let read = self.attention(x, x, &format!("{name}.attn"))?;
        let drop = self.drop(x.columns);
        let x = self.add_norm(x, read, drop, None, &format!("{name}.norm1"))?;
        let fed = self.feed_forward(x, hidden, &format!("{name}.ffn"))?;
        let drop = self.drop(x.columns);
        self.add_norm(x, fed, drop, None, &format!("{name}.norm2"))
    }

    /// Into `y`.
    fn decoder_layer(&mut self, x: View, p: View, z: View, y: View, hidden: usize, name: &str) -> Result<()> {
        let read = self.attention(x, z, &format!("{name}.attn1"))?;
        let drop = self.drop(x.columns);
        let x = self.add_norm(x, read, drop, None, &format!("{name}.norm1"))?;
        let read = self.attention(x, p, &format!("{name}.attn2"))?;
        let drop = self.drop(x.columns);
        let x = self.add_norm(x, read, drop, None, &format!("{name}.norm2"))?;
        let fed = self.feed_forward(x, hidden, &format!("{name}.ffn"))?;
        let drop = self.drop(x.columns);
        self.add_norm(x, fed, drop, Some(y), &format!("{name}.norm3"))?;
        Ok(())
    }

    fn mlp(&mut self, x: View, hidden: usize, layers: usize, columns: usize, name: &str) -> Result<View> {
        let mut x = x;
        for layer in 0..layers {
            x = self.linear(x, hidden, &format!("{name}.{}", 2 * layer), After::Rectify)?;
        }
        self.linear(x, columns, &format!("{name}.{}", 2 * layers), After::Nothing)
    }

    /// delta_E.
    fn wide_encoder(&mut self, tokens: View, config: &DualAdConfig) -> Result<View> {
        let (wide, hidden) = (config.wide_width(), config.wide_width() * config.wide_ffn_ratio);
        if config.branches == Branches::NarrowDeep {
            return self.linear(tokens, wide, "in_proj", After::Nothing);
        }
        match config.variant {
            Variant::Heterogeneous => self.mlp(tokens, hidden, config.wide_layers, wide, "in_proj"),
            Variant::Homogeneous => {
                self.wide = true;
                let mut x = self.linear(tokens, wide, "in_proj", After::Nothing)?;
                for layer in 0..config.wide_layers {
                    x = self.encoder_layer(x, hidden, &format!("proj_encoder.layers.{layer}"))?;
                }
                self.wide = false;
                Ok(x)
            }
        }
    }

    /// delta_D.
    fn wide_decoder(&mut self, x: View, config: &DualAdConfig) -> Result<View> {
        let hidden = config.wide_width() * config.wide_ffn_ratio;
        if config.branches == Branches::NarrowDeep {
            return self.linear(x, config.channels(), "out_proj", After::Nothing);
        }
        match config.variant {
            Variant::Heterogeneous => self.mlp(x, hidden, config.wide_layers, config.channels(), "out_proj"),
            Variant::Homogeneous => {
                self.wide = true;
                let mut previous = x;
                for layer in 0..config.wide_layers {
                    let queries = self.offset(&format!("proj_decoder.learned_queries.{layer}.weight"))?;
                    let (query, y) = (self.value(x.columns), self.value(x.columns));
                    self.plan.steps.push(Step::Constant(queries, query));
                    let name = format!("proj_decoder.layers.{layer}");
                    self.decoder_layer(query, previous, x, y, hidden, &name)?;
                    previous = y;
                }
                self.wide = false;
                self.linear(previous, config.channels(), "out_proj", After::Nothing)
            }
        }
    }

    /// Where the positions are that the branches add.
    fn positions(&mut self, config: &DualAdConfig) -> Result<()> {
        let (narrow, wide) = (config.branches != Branches::WideShallow, "proj_encoder.layers.0.abs_pos_embed");
        let homogeneous = config.variant == Variant::Homogeneous && config.branches != Branches::NarrowDeep;
        let embedding = match (narrow, homogeneous) {
            (true, _) => "encoder.layers.0.abs_pos_embed".to_owned(),
            (false, true) => format!("{wide}.0"),
            (false, false) => return Ok(()),
        };
        let offset = |name: String| self.offset(&name);
        let position = [offset(format!("{embedding}.row_embed"))?, offset(format!("{embedding}.col_embed"))?];
        if homogeneous {
            self.plan.wide_position = Some([offset(format!("{wide}.1.weight"))?, offset(format!("{wide}.1.bias"))?]);
        }
        self.plan.position = Some(position);
        Ok(())
    }

    fn network(&mut self, config: &DualAdConfig) -> Result<()> {
        let (wide, d, levels) = (config.wide_width(), config.narrow_width, config.levels);
        let tokens = self.value(config.channels());
        self.plan.input = tokens.value;
        self.positions(config)?;
        let mut x = self.wide_encoder(tokens, config)?;
        if config.chunk_width != d {
            x = self.linear(x, levels * d, "head_proj1", After::Nothing)?;
        }
        let chunk = |view: View, level: usize| View { start: level * d, columns: d, ..view };
        if config.memory_slots > 0 {
            let y = self.value(levels * d);
            for level in 0..levels {
                let slots = self.offset(&format!("memory_modules.{level}.weight"))?;
                self.plan.memories.push(slots);
                let (from, to) = (input(chunk(x, level)), chunk(y, level));
                self.plan.steps.push(Step::Memory(Memory { x: from, y: to, slots, index: level }));
            }
            x = y;
        }
        if config.branches != Branches::WideShallow {
            let mut z = self.value(d);
            let inputs = (0..levels).map(|level| input(chunk(x, level))).collect();
            self.plan.steps.push(Step::Sum(inputs, z));
            for layer in 0..config.encoder_layers {
                z = self.encoder_layer(z, config.ffn_width, &format!("encoder.layers.{layer}"))?;
            }
            let outputs = self.value(levels * d);
            for level in 0..levels {
                let previous = if level == 0 { z } else { chunk(outputs, level - 1) };
                let (query, y) = (chunk(x, level), chunk(outputs, level));
                self.decoder_layer(query, previous, z, y, config.ffn_width, &format!("decoder.layers.{level}"))?;
            }
            x = outputs;
        }
        if config.chunk_width != d {
            x = self.linear(x, wide, "head_proj2", After::Nothing)?;
        }
        let y = self.wide_decoder(x, config)?;
        self.plan.output = y.value;
        Ok(())
    }
}

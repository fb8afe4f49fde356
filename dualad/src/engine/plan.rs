//! The plan of a network: its configuration as a list of steps over buffers.
//!
//! A value is a matrix `[rows, columns]` with one row for each token of some images; a view is a range of its columns. The steps
//! write views in order; the backward pass runs them from the last to the first.

use crate::config::{Branches, DualAdConfig, Variant};
use crate::engine::layout::ParameterLayout;
use crate::error::{Error, Result};

/// A range of columns of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct View {
    pub(crate) value: usize,
    pub(crate) start: usize,
    pub(crate) columns: usize,
}

/// An input of a step, and what the backward pass of the step does with its gradient.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Input {
    pub(crate) view: View,
    /// True to add the gradient to that of later steps, false to store it as the first one.
    pub(crate) accumulate: bool,
    /// False for the network's input, whose gradient is not computed.
    pub(crate) needs_gradient: bool,
}

/// The bias of a linear layer.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bias {
    /// One row for all tokens: its offset in the parameters.
    Row(usize),
    /// One row for each token of the grid: the index of a [`Table`].
    Table(usize),
}

/// The activation of a linear layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LinearActivation {
    /// No activation.
    Identity,
    /// ReLU.
    Relu,
    /// ReLU, then the dropout with this index.
    ReluDropout(usize),
}

/// y = activation(x W^T + bias).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Linear {
    pub(crate) x: Input,
    pub(crate) y: View,
    /// The offset of W, `[columns of y, columns of x]`, in the parameters.
    pub(crate) weight: usize,
    pub(crate) bias: Bias,
    pub(crate) activation: LinearActivation,
}

/// y = the softmax attention of q over k and v.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attention {
    pub(crate) q: View,
    pub(crate) k: View,
    pub(crate) v: View,
    pub(crate) y: View,
}

/// y = LN(x + dropout(r)). The buffer of r then holds the sum.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AddNorm {
    pub(crate) x: Input,
    pub(crate) r: View,
    pub(crate) y: View,
    /// The offset of the weight in the parameters.
    pub(crate) weight: usize,
    /// The offset of the bias in the parameters.
    pub(crate) bias: usize,
    /// The index of the dropout.
    pub(crate) dropout: usize,
    /// The index of the norm.
    pub(crate) index: usize,
}

/// y = the memory's readout for the query x.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    pub(crate) x: Input,
    pub(crate) y: View,
    /// The offset of the slots in the parameters.
    pub(crate) slots: usize,
    /// The index of the memory.
    pub(crate) index: usize,
}

/// One step of the network.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Linear(Linear),
    Attention(Attention),
    AddNorm(AddNorm),
    Memory(Memory),
    /// y = the sum of the views.
    Sum(Vec<Input>, View),
    /// y = the parameters `[tokens, columns]` at an offset, for each image: learned queries.
    Constant(usize, View),
}

/// A table of biases with positions, `[tokens, columns]`.
///
/// For queries and keys: W (x + pos) + b = W x + (W pos + b). The table holds W pos + b for each token. v gets no position: its
/// columns hold b.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Table {
    /// True for the wide-shallow branch, whose positions are projected to its width first.
    pub(crate) wide: bool,
    pub(crate) columns: usize,
    /// The number of leading columns that get the position (q and k, not v).
    pub(crate) placed: usize,
    /// The offset of the weight in the parameters.
    pub(crate) weight: usize,
    /// The offset of the bias in the parameters.
    pub(crate) bias: usize,
}

/// The plan of a network.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// The columns of each value.
    pub(crate) columns: Vec<usize>,
    pub(crate) steps: Vec<Step>,
    pub(crate) tables: Vec<Table>,
    /// The value that holds the input tokens.
    pub(crate) input: usize,
    /// The value that holds the reconstruction.
    pub(crate) output: usize,
    /// The columns of each dropout, in the order in which the plain form draws their random streams.
    pub(crate) dropouts: Vec<usize>,
    /// The columns of each norm.
    pub(crate) norms: Vec<usize>,
    /// The offsets of the memories' slots in the parameters.
    pub(crate) memories: Vec<usize>,
    /// The offsets of the row and the column embedding in the parameters.
    pub(crate) position: Option<[usize; 2]>,
    /// The offsets of the weight and the bias that project positions to the width of the wide-shallow branch.
    pub(crate) wide_position: Option<[usize; 2]>,
}

impl Plan {
    /// Returns `true` if the training engine supports such a network. The inference engine supports every network.
    pub(crate) fn can_train(config: &DualAdConfig) -> bool {
        config.variant == Variant::Heterogeneous && config.branches != Branches::NarrowDeep
    }

    /// Returns the plan of a configuration's network.
    ///
    /// # Errors
    /// [`Error::Parameter`] if the layout lacks a parameter of the network.
    pub(crate) fn new(config: &DualAdConfig, layout: &ParameterLayout) -> Result<Self> {
        let mut build = Build { layout, plan: Self::empty(), wide: false };
        build.network(config)?;
        let mut plan = build.plan;
        plan.mark_accumulation();
        Ok(plan)
    }

    fn empty() -> Self {
        Self {
            columns: Vec::new(),
            steps: Vec::new(),
            tables: Vec::new(),
            input: 0,
            output: 0,
            dropouts: Vec::new(),
            norms: Vec::new(),
            memories: Vec::new(),
            position: None,
            wide_position: None,
        }
    }

    /// Marks which steps store a gradient and which add to it: the backward pass runs from the last step to the first, so the last
    /// reader of a value stores its gradient and the others add theirs.
    fn mark_accumulation(&mut self) {
        let mut written: Vec<Vec<bool>> = self.columns.iter().map(|&columns| vec![false; columns]).collect();
        let network_input = self.input;
        let mut mark = |input: &mut Input| {
            let View { value, start, columns } = input.view;
            let columns = &mut written[value][start..start + columns];
            input.accumulate = columns.iter().all(|&written| written);
            columns.fill(true);
            input.needs_gradient = value != network_input;
        };
        for step in self.steps.iter_mut().rev() {
            match step {
                Step::Linear(linear) => mark(&mut linear.x),
                Step::AddNorm(norm) => mark(&mut norm.x),
                Step::Memory(memory) => mark(&mut memory.x),
                Step::Sum(inputs, _) => inputs.iter_mut().for_each(&mut mark),
                // No other step reads q, k and v; a constant has no inputs.
                Step::Attention(_) | Step::Constant(..) => {}
            }
        }
    }
}

/// The construction of a plan, layer by layer.
struct Build<'a> {
    layout: &'a ParameterLayout,
    plan: Plan,
    /// True while the layers of the wide-shallow branch are added.
    wide: bool,
}

/// Returns a view of all columns.
fn whole(value: usize, columns: usize) -> View {
    View { value, start: 0, columns }
}

fn input(view: View) -> Input {
    Input { view, accumulate: false, needs_gradient: true }
}

impl Build<'_> {
    /// Adds a value.
    fn value(&mut self, columns: usize) -> View {
        self.plan.columns.push(columns);
        whole(self.plan.columns.len() - 1, columns)
    }

    /// Returns the offset of a parameter.
    fn offset(&self, name: &str) -> Result<usize> {
        self.layout.offset(name).ok_or_else(|| Error::Parameter { name: name.into(), reason: "is missing".into() })
    }

    /// Adds a linear layer.
    fn linear(&mut self, x: View, columns: usize, name: &str, activation: LinearActivation) -> Result<View> {
        let y = self.value(columns);
        let (weight, bias) = (self.offset(&format!("{name}.weight"))?, self.offset(&format!("{name}.bias"))?);
        self.plan.steps.push(Step::Linear(Linear { x: input(x), y, weight, bias: Bias::Row(bias), activation }));
        Ok(y)
    }

    /// Adds several projections of one input as one linear layer. q, k and v are adjacent in the flat vector (`layout.rs`); `name`
    /// is the first of them. The first `placed` columns project the input with its position.
    fn placed_linear(&mut self, x: View, columns: usize, placed: usize, name: &str) -> Result<View> {
        let y = self.value(columns);
        let (weight, bias) = (self.offset(&format!("{name}.weight"))?, self.offset(&format!("{name}.bias"))?);
        let wide = self.wide;
        self.plan.tables.push(Table { wide, columns, placed, weight, bias });
        let bias = Bias::Table(self.plan.tables.len() - 1);
        self.plan.steps.push(Step::Linear(Linear {
            x: input(x),
            y,
            weight,
            bias,
            activation: LinearActivation::Identity,
        }));
        Ok(y)
    }

    /// Adds a dropout and returns its index.
    fn dropout(&mut self, columns: usize) -> usize {
        self.plan.dropouts.push(columns);
        self.plan.dropouts.len() - 1
    }

    /// Adds LN(x + dropout(r)), into `y` or a new value.
    fn add_norm(&mut self, x: View, r: View, dropout: usize, y: Option<View>, name: &str) -> Result<View> {
        let y = match y {
            Some(y) => y,
            None => self.value(x.columns),
        };
        let (weight, bias) = (self.offset(&format!("{name}.weight"))?, self.offset(&format!("{name}.bias"))?);
        self.plan.norms.push(x.columns);
        let index = self.plan.norms.len() - 1;
        self.plan.steps.push(Step::AddNorm(AddNorm { x: input(x), r, y, weight, bias, dropout, index }));
        Ok(y)
    }

    /// Adds attention of `query` over `context`, which may be the same view, with its projections.
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
        self.linear(y, d, &format!("{name}.out_proj"), LinearActivation::Identity)
    }

    /// Adds a feed-forward network.
    fn feed_forward(&mut self, x: View, hidden: usize, name: &str) -> Result<View> {
        let dropout = self.dropout(hidden);
        let hidden = self.linear(x, hidden, &format!("{name}.fc1"), LinearActivation::ReluDropout(dropout))?;
        self.linear(hidden, x.columns, &format!("{name}.fc2"), LinearActivation::Identity)
    }

    /// Adds an encoder layer.
    fn encoder_layer(&mut self, x: View, hidden: usize, name: &str) -> Result<View> {
        let read = self.attention(x, x, &format!("{name}.attn"))?;
        let dropout = self.dropout(x.columns);
        let x = self.add_norm(x, read, dropout, None, &format!("{name}.norm1"))?;
        let fed = self.feed_forward(x, hidden, &format!("{name}.ffn"))?;
        let dropout = self.dropout(x.columns);
        self.add_norm(x, fed, dropout, None, &format!("{name}.norm2"))
    }

    /// Adds a decoder layer that writes to `y`.
    fn decoder_layer(&mut self, x: View, p: View, z: View, y: View, hidden: usize, name: &str) -> Result<()> {
        let read = self.attention(x, z, &format!("{name}.attn1"))?;
        let dropout = self.dropout(x.columns);
        let x = self.add_norm(x, read, dropout, None, &format!("{name}.norm1"))?;
        let read = self.attention(x, p, &format!("{name}.attn2"))?;
        let dropout = self.dropout(x.columns);
        let x = self.add_norm(x, read, dropout, None, &format!("{name}.norm2"))?;
        let fed = self.feed_forward(x, hidden, &format!("{name}.ffn"))?;
        let dropout = self.dropout(x.columns);
        self.add_norm(x, fed, dropout, Some(y), &format!("{name}.norm3"))?;
        Ok(())
    }

    /// Adds an MLP.
    fn mlp(&mut self, x: View, hidden: usize, layers: usize, columns: usize, name: &str) -> Result<View> {
        let mut x = x;
        for layer in 0..layers {
            x = self.linear(x, hidden, &format!("{name}.{}", 2 * layer), LinearActivation::Relu)?;
        }
        self.linear(x, columns, &format!("{name}.{}", 2 * layers), LinearActivation::Identity)
    }

    /// Adds the WSN encoder.
    fn wide_encoder(&mut self, tokens: View, config: &DualAdConfig) -> Result<View> {
        let (wide, hidden) = (config.wide_width(), config.wide_width() * config.wide_ffn_ratio);
        if config.branches == Branches::NarrowDeep {
            return self.linear(tokens, wide, "in_proj", LinearActivation::Identity);
        }
        match config.variant {
            Variant::Heterogeneous => self.mlp(tokens, hidden, config.wide_layers, wide, "in_proj"),
            Variant::Homogeneous => {
                self.wide = true;
                let mut x = self.linear(tokens, wide, "in_proj", LinearActivation::Identity)?;
                for layer in 0..config.wide_layers {
                    x = self.encoder_layer(x, hidden, &format!("proj_encoder.layers.{layer}"))?;
                }
                self.wide = false;
                Ok(x)
            }
        }
    }

    /// Adds the WSN decoder.
    fn wide_decoder(&mut self, x: View, config: &DualAdConfig) -> Result<View> {
        let hidden = config.wide_width() * config.wide_ffn_ratio;
        if config.branches == Branches::NarrowDeep {
            return self.linear(x, config.channels(), "out_proj", LinearActivation::Identity);
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
                self.linear(previous, config.channels(), "out_proj", LinearActivation::Identity)
            }
        }
    }

    /// Finds the position embeddings that the branches add.
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

    /// Adds the whole network.
    fn network(&mut self, config: &DualAdConfig) -> Result<()> {
        let (wide, d, levels) = (config.wide_width(), config.narrow_width, config.levels);
        let tokens = self.value(config.channels());
        self.plan.input = tokens.value;
        self.positions(config)?;
        let mut x = self.wide_encoder(tokens, config)?;
        if config.chunk_width != d {
            x = self.linear(x, levels * d, "head_proj1", LinearActivation::Identity)?;
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
            x = self.linear(x, wide, "head_proj2", LinearActivation::Identity)?;
        }
        let y = self.wide_decoder(x, config)?;
        self.plan.output = y.value;
        Ok(())
    }
}

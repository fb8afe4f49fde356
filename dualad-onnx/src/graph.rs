//! A graph of standard operators (opset 17), built node by node.

use crate::proto::{self, Attribute, FLOAT, INT64, KIND_FLOAT, KIND_INT, KIND_INTS, Node, Tensor};

/// The largest size of the constants of a file, in bytes. A protobuf message has less than 2 GiB.
const MAX_BYTES: usize = (1 << 31) - (16 << 20);

/// A value in a graph: an input, a constant, or the output of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Value(String);

/// A graph without its inputs and outputs.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    nodes: Vec<Node>,
    constants: Vec<Tensor>,
    /// The size of the constants, including those that were left out.
    bytes: usize,
    /// The part of the model that nodes are named by.
    part: &'static str,
    count: usize,
}

/// An attribute that is an integer.
pub(crate) fn int(name: &str, value: i64) -> Attribute {
    Attribute { name: name.into(), i: Some(value), kind: KIND_INT, ..Attribute::default() }
}

/// An attribute that is a list of integers.
pub(crate) fn ints(name: &str, values: &[i64]) -> Attribute {
    Attribute { name: name.into(), ints: values.into(), kind: KIND_INTS, ..Attribute::default() }
}

/// An attribute that is a number.
pub(crate) fn float(name: &str, value: f32) -> Attribute {
    Attribute { name: name.into(), f: Some(value), kind: KIND_FLOAT, ..Attribute::default() }
}

impl Graph {
    /// Begins a part of the model, whose name stands before the names of nodes.
    pub(crate) fn begin(&mut self, part: &'static str) {
        self.part = part;
    }

    /// Returns an input of the graph.
    pub(crate) fn input(name: &str) -> Value {
        Value(name.into())
    }

    /// Returns the nodes and the constants, or the size of the constants if it is beyond the limit.
    pub(crate) fn finish(self, name: &str) -> Result<proto::Graph, usize> {
        if self.bytes > MAX_BYTES {
            return Err(self.bytes);
        }
        Ok(proto::Graph { node: self.nodes, name: name.into(), initializer: self.constants, ..Default::default() })
    }

    fn name(&mut self, of: &str) -> String {
        self.count += 1;
        format!("{}/{of}_{}", self.part, self.count)
    }

    fn constant(&mut self, shape: &[usize], data_type: i32, bytes: usize, data: impl FnOnce() -> Vec<u8>) -> Value {
        let name = self.name("constant");
        self.bytes = self.bytes.saturating_add(bytes);
        // Beyond the limit the graph is of no use, and takes no more memory.
        if self.bytes <= MAX_BYTES {
            let dims = shape.iter().map(|&side| side as i64).collect();
            self.constants.push(Tensor { dims, data_type, name: name.clone(), raw_data: data() });
        }
        Value(name)
    }

    /// Adds a constant of f32.
    pub(crate) fn floats(&mut self, shape: &[usize], values: &[f32]) -> Value {
        let data = || values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(shape, FLOAT, size_of_val(values), data)
    }

    /// Adds a constant that is one number.
    pub(crate) fn number(&mut self, value: f32) -> Value {
        self.floats(&[], &[value])
    }

    /// Adds a constant of i64.
    pub(crate) fn integers(&mut self, values: &[i64]) -> Value {
        let data = || values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(&[values.len()], INT64, size_of_val(values), data)
    }

    /// Adds a node with one output.
    pub(crate) fn node(&mut self, operator: &str, inputs: &[&Value], attributes: Vec<Attribute>) -> Value {
        let name = self.name(operator);
        self.push(operator, name.clone(), inputs, vec![name.clone()], attributes);
        Value(name)
    }

    /// Adds a node with several outputs.
    pub(crate) fn outputs<const N: usize>(
        &mut self,
        operator: &str,
        inputs: &[&Value],
        attributes: Vec<Attribute>,
    ) -> [Value; N] {
        let name = self.name(operator);
        let outputs: [Value; N] = std::array::from_fn(|index| Value(format!("{name}:{index}")));
        self.push(operator, name, inputs, outputs.iter().map(|value| value.0.clone()).collect(), attributes);
        outputs
    }

    /// Gives a value the name of an output of the graph.
    pub(crate) fn output(&mut self, name: &str, value: &Value) {
        self.push("Identity", format!("output/{name}"), &[value], vec![name.into()], Vec::new());
    }

    fn push(
        &mut self,
        operator: &str,
        name: String,
        inputs: &[&Value],
        output: Vec<String>,
        attribute: Vec<Attribute>,
    ) {
        let input = inputs.iter().map(|value| value.0.clone()).collect();
        self.nodes.push(Node { input, output, name, op_type: operator.into(), attribute });
    }

    pub(crate) fn add(&mut self, a: &Value, b: &Value) -> Value {
        self.node("Add", &[a, b], Vec::new())
    }

    pub(crate) fn sub(&mut self, a: &Value, b: &Value) -> Value {
        self.node("Sub", &[a, b], Vec::new())
    }

    pub(crate) fn mul(&mut self, a: &Value, b: &Value) -> Value {
        self.node("Mul", &[a, b], Vec::new())
    }

    pub(crate) fn div(&mut self, a: &Value, b: &Value) -> Value {
        self.node("Div", &[a, b], Vec::new())
    }

    pub(crate) fn matmul(&mut self, a: &Value, b: &Value) -> Value {
        self.node("MatMul", &[a, b], Vec::new())
    }

    /// Adds an operator with one input and no attributes.
    pub(crate) fn unary(&mut self, operator: &str, x: &Value) -> Value {
        self.node(operator, &[x], Vec::new())
    }

    /// Multiplies by a number.
    pub(crate) fn scale(&mut self, x: &Value, factor: f32) -> Value {
        let factor = self.number(factor);
        self.mul(x, &factor)
    }

    /// Limits values from above.
    pub(crate) fn at_most(&mut self, x: &Value, limit: f32) -> Value {
        let limit = self.number(limit);
        self.node("Min", &[x, &limit], Vec::new())
    }

    /// Limits values from below.
    pub(crate) fn at_least(&mut self, x: &Value, limit: f32) -> Value {
        let limit = self.number(limit);
        self.node("Max", &[x, &limit], Vec::new())
    }

    /// Changes the shape. A side of 0 is that of the input at the same place.
    pub(crate) fn reshape(&mut self, x: &Value, shape: &[usize]) -> Value {
        let shape: Vec<i64> = shape.iter().map(|&side| side as i64).collect();
        let shape = self.integers(&shape);
        self.node("Reshape", &[x, &shape], Vec::new())
    }

    pub(crate) fn transpose(&mut self, x: &Value, order: &[i64]) -> Value {
        self.node("Transpose", &[x], vec![ints("perm", order)])
    }

    pub(crate) fn concat(&mut self, values: &[&Value], axis: i64) -> Value {
        self.node("Concat", values, vec![int("axis", axis)])
    }

    /// Takes the elements from `start` to before `end` along an axis.
    pub(crate) fn slice(&mut self, x: &Value, axis: i64, start: usize, end: usize) -> Value {
        let [start, end, axis] = [start as i64, end as i64, axis].map(|value| self.integers(&[value]));
        self.node("Slice", &[x, &start, &end, &axis], Vec::new())
    }

    /// Takes elements along an axis. The indices are values of i64 of any shape, which replaces the axis.
    pub(crate) fn gather(&mut self, x: &Value, indices: &Value, axis: i64) -> Value {
        self.node("Gather", &[x, indices], vec![int("axis", axis)])
    }

    pub(crate) fn softmax(&mut self, x: &Value) -> Value {
        self.node("Softmax", &[x], vec![int("axis", -1)])
    }

    /// Reduces axes by `ReduceMean`, `ReduceMax`, `ReduceMin` or `ReduceL2`.
    pub(crate) fn reduce(&mut self, operator: &str, x: &Value, axes: &[i64], keep: bool) -> Value {
        self.node(operator, &[x], vec![ints("axes", axes), int("keepdims", i64::from(keep))])
    }

    /// Sums the last axis.
    pub(crate) fn sum_last(&mut self, x: &Value, keep: bool) -> Value {
        let axes = self.integers(&[-1]);
        self.node("ReduceSum", &[x, &axes], vec![int("keepdims", i64::from(keep))])
    }

    /// Adds axes of one element.
    pub(crate) fn unsqueeze(&mut self, x: &Value, axes: &[i64]) -> Value {
        let axes = self.integers(axes);
        self.node("Unsqueeze", &[x, &axes], Vec::new())
    }

    /// Applies a linear layer, whose weight is `[outputs, inputs]`, to the last axis.
    pub(crate) fn linear(&mut self, x: &Value, weight: &[f32], bias: &[f32]) -> Value {
        let (outputs, inputs) = (bias.len(), weight.len() / bias.len().max(1));
        let weight = self.floats(&[inputs, outputs], &turned(weight, outputs, inputs));
        let bias = self.floats(&[outputs], bias);
        let product = self.matmul(x, &weight);
        self.add(&product, &bias)
    }

    /// Applies a layer norm to the last axis.
    pub(crate) fn layer_norm(&mut self, x: &Value, weight: &[f32], bias: &[f32], eps: f64) -> Value {
        let [weight, bias] = [weight, bias].map(|values| self.floats(&[values.len()], values));
        let attributes = vec![int("axis", -1), float("epsilon", eps as f32)];
        self.node("LayerNormalization", &[x, &weight, &bias], attributes)
    }

    /// Returns softmax attention of `[batch, tokens, channels]`, where the channels of the heads are side by side. `mask` is added to the
    /// scores. The batch of the query may be 1.
    pub(crate) fn attention(
        &mut self,
        [query, key, value]: [&Value; 3],
        heads: usize,
        channels: usize,
        mask: Option<&Value>,
    ) -> Value {
        let width = channels.checked_div(heads).unwrap_or(0);
        let query = self.scale(query, (width as f64).powf(-0.5) as f32);
        let mut split = |x: &Value, order: &[i64]| {
            let x = self.reshape(x, &[0, 0, heads, width]);
            self.transpose(&x, order)
        };
        let query = split(&query, &[0, 2, 1, 3]);
        let key = split(key, &[0, 2, 3, 1]);
        let value = split(value, &[0, 2, 1, 3]);
        let mut scores = self.matmul(&query, &key);
        if let Some(mask) = mask {
            scores = self.add(&scores, mask);
        }
        let weights = self.softmax(&scores);
        let attended = self.matmul(&weights, &value);
        let attended = self.transpose(&attended, &[0, 2, 1, 3]);
        self.reshape(&attended, &[0, 0, channels])
    }
}

/// Returns a matrix `[rows, columns]` with rows and columns exchanged.
pub(crate) fn turned(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let mut turned = Vec::with_capacity(values.len());
    for column in 0..columns {
        turned.extend((0..rows).filter_map(|row| values.get(row * columns + column)));
    }
    turned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_have_names_of_their_part_and_constants_their_bytes() {
        let mut graph = Graph::default();
        graph.begin("part");
        let x = Graph::input("x");
        let y = graph.linear(&x, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[7.0, 8.0]);
        graph.output("y", &y);
        let graph = graph.finish("g").unwrap();
        assert_eq!(
            graph.node.iter().map(|node| node.op_type.as_str()).collect::<Vec<_>>(),
            ["MatMul", "Add", "Identity"]
        );
        assert!(graph.node.iter().take(2).all(|node| node.name.starts_with("part/")));
        assert_eq!((graph.node[0].input[0].as_str(), graph.node[2].output[0].as_str()), ("x", "y"));
        // The weight of [2, 3] is stored as [3, 2].
        let weight = &graph.initializer[0];
        let bytes: Vec<u8> = [1.0f32, 4.0, 2.0, 5.0, 3.0, 6.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        assert_eq!((weight.dims.as_slice(), &weight.raw_data), (&[3, 2][..], &bytes));
    }

    #[test]
    fn constants_beyond_the_limit_take_no_memory() {
        let mut graph = Graph { bytes: MAX_BYTES - 4, ..Graph::default() };
        graph.number(1.0);
        assert_eq!(graph.constants.len(), 1);
        graph.number(1.0);
        assert_eq!(graph.constants.len(), 1);
        assert_eq!(graph.finish("g").unwrap_err(), MAX_BYTES + 4);
    }
}

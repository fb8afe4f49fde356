//! The messages of an ONNX file (onnx.proto of ONNX 1.12, IR version 8), as far as this crate writes them.
//!
//! A field has the number of the definition there. Fields that this crate never writes are left out.

use prost::Message;

/// The IR version of the messages.
pub(crate) const IR_VERSION: i64 = 8;

/// The number of a model's field that is its graph.
pub(crate) const GRAPH: u32 = 7;

/// The element type of a tensor: f32.
pub(crate) const FLOAT: i32 = 1;
/// The element type of a tensor: i64.
pub(crate) const INT64: i32 = 7;

/// The kind of an attribute: a float.
pub(crate) const KIND_FLOAT: i32 = 1;
/// The kind of an attribute: an integer.
pub(crate) const KIND_INT: i32 = 2;
/// The kind of an attribute: integers.
pub(crate) const KIND_INTS: i32 = 7;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Model {
    #[prost(int64, tag = "1")]
    pub(crate) ir_version: i64,
    #[prost(string, tag = "2")]
    pub(crate) producer_name: String,
    #[prost(string, tag = "3")]
    pub(crate) producer_version: String,
    #[prost(string, tag = "6")]
    pub(crate) doc_string: String,
    #[prost(message, optional, tag = "7")]
    pub(crate) graph: Option<Graph>,
    #[prost(message, repeated, tag = "8")]
    pub(crate) opset_import: Vec<OperatorSet>,
    #[prost(message, repeated, tag = "14")]
    pub(crate) metadata_props: Vec<Property>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct OperatorSet {
    /// Empty for the standard operators.
    #[prost(string, tag = "1")]
    pub(crate) domain: String,
    #[prost(int64, tag = "2")]
    pub(crate) version: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Property {
    #[prost(string, tag = "1")]
    pub(crate) key: String,
    #[prost(string, tag = "2")]
    pub(crate) value: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Graph {
    #[prost(message, repeated, tag = "1")]
    pub(crate) node: Vec<Node>,
    #[prost(string, tag = "2")]
    pub(crate) name: String,
    #[prost(message, repeated, tag = "5")]
    pub(crate) initializer: Vec<Tensor>,
    #[prost(message, repeated, tag = "11")]
    pub(crate) input: Vec<ValueInfo>,
    #[prost(message, repeated, tag = "12")]
    pub(crate) output: Vec<ValueInfo>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Node {
    #[prost(string, repeated, tag = "1")]
    pub(crate) input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub(crate) output: Vec<String>,
    #[prost(string, tag = "3")]
    pub(crate) name: String,
    #[prost(string, tag = "4")]
    pub(crate) op_type: String,
    #[prost(message, repeated, tag = "5")]
    pub(crate) attribute: Vec<Attribute>,
}

/// An attribute. Readers tell by presence whether a value is given, so a zero is written too.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Attribute {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(float, optional, tag = "2")]
    pub(crate) f: Option<f32>,
    #[prost(int64, optional, tag = "3")]
    pub(crate) i: Option<i64>,
    #[prost(int64, repeated, packed = "false", tag = "8")]
    pub(crate) ints: Vec<i64>,
    #[prost(int32, tag = "20")]
    pub(crate) kind: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Tensor {
    #[prost(int64, repeated, packed = "false", tag = "1")]
    pub(crate) dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    pub(crate) data_type: i32,
    #[prost(string, tag = "8")]
    pub(crate) name: String,
    /// The elements, little-endian.
    #[prost(bytes = "vec", tag = "9")]
    pub(crate) raw_data: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ValueInfo {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) value_type: Option<ValueType>,
    #[prost(string, tag = "3")]
    pub(crate) doc_string: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ValueType {
    #[prost(message, optional, tag = "1")]
    pub(crate) tensor_type: Option<TensorType>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TensorType {
    #[prost(int32, tag = "1")]
    pub(crate) elem_type: i32,
    #[prost(message, optional, tag = "2")]
    pub(crate) shape: Option<Shape>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Shape {
    #[prost(message, repeated, tag = "1")]
    pub(crate) dim: Vec<Dimension>,
}

/// A side of a tensor: a number, or the name of one that callers choose.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Dimension {
    #[prost(int64, optional, tag = "1")]
    pub(crate) dim_value: Option<i64>,
    #[prost(string, optional, tag = "2")]
    pub(crate) dim_param: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes are those that the `onnx` package of Python writes for the same messages.
    #[test]
    fn messages_have_the_bytes_of_the_definition() {
        let attribute = Attribute { name: "axis".into(), i: Some(0), kind: KIND_INT, ..Attribute::default() };
        assert_eq!(attribute.encode_to_vec(), b"\x0a\x04axis\x18\x00\xa0\x01\x02");
        let ints = Attribute { name: "p".into(), ints: vec![1, 300], kind: KIND_INTS, ..Attribute::default() };
        assert_eq!(ints.encode_to_vec(), b"\x0a\x01p\x40\x01\x40\xac\x02\xa0\x01\x07");
        let tensor = Tensor {
            dims: vec![2],
            data_type: FLOAT,
            name: "w".into(),
            raw_data: [1.0f32, -2.0].iter().flat_map(|value| value.to_le_bytes()).collect(),
        };
        assert_eq!(tensor.encode_to_vec(), b"\x08\x02\x10\x01\x42\x01w\x4a\x08\x00\x00\x80\x3f\x00\x00\x00\xc0");
        let batch = Dimension { dim_param: Some("batch".into()), ..Dimension::default() };
        assert_eq!(batch.encode_to_vec(), b"\x12\x05batch");
        assert_eq!(Tensor::decode(tensor.encode_to_vec().as_slice()), Ok(tensor));
    }
}

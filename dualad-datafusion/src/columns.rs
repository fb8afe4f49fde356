//! Columns of images and categories in the forms that Arrow has for them.

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryViewArray, FixedSizeBinaryArray, LargeBinaryArray, LargeStringArray,
    StringArray, StringViewArray,
};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err, plan_err};

/// The bytes of images.
pub(crate) enum Images<'a> {
    Binary(&'a BinaryArray),
    Large(&'a LargeBinaryArray),
    View(&'a BinaryViewArray),
    Fixed(&'a FixedSizeBinaryArray),
    Dictionary(Keys, Box<Self>),
}

/// The names of categories.
pub(crate) enum Names<'a> {
    Utf8(&'a StringArray),
    Large(&'a LargeStringArray),
    View(&'a StringViewArray),
    Dictionary(Keys, Box<Self>),
}

/// The places of rows among the values of a dictionary.
///
/// A cast to plain values would make a new array for each call, and calls for one array are recognized by it
/// ([`crate::recent::Recent`]).
pub(crate) struct Keys(Vec<Option<usize>>);

impl Keys {
    /// Returns the keys and the values of a dictionary.
    fn of(array: &ArrayRef) -> (Self, &ArrayRef) {
        let dictionary = array.as_any_dictionary();
        let keys = match dictionary.values().is_empty() {
            // Only NULL is possible.
            true => vec![None; array.len()],
            false => {
                let keys = dictionary.normalized_keys().into_iter().enumerate();
                keys.map(|(row, key)| (!array.is_null(row)).then_some(key)).collect()
            }
        };
        (Self(keys), dictionary.values())
    }

    fn get(&self, row: usize) -> Option<usize> {
        self.0.get(row).copied().flatten()
    }
}

impl<'a> Images<'a> {
    pub(crate) fn of(array: &'a ArrayRef) -> Result<Self> {
        Ok(match array.data_type() {
            DataType::Binary => Self::Binary(array.as_binary()),
            DataType::LargeBinary => Self::Large(array.as_binary()),
            DataType::BinaryView => Self::View(array.as_binary_view()),
            DataType::FixedSizeBinary(_) => Self::Fixed(array.as_fixed_size_binary()),
            DataType::Dictionary(..) => {
                let (keys, values) = Keys::of(array);
                Self::Dictionary(keys, Box::new(Self::of(values)?))
            }
            other => return exec_err!("the images are of type {other}, and Binary was expected"),
        })
    }

    pub(crate) fn get(&self, row: usize) -> Option<&'a [u8]> {
        match self {
            Self::Binary(array) => (!array.is_null(row)).then(|| array.value(row)),
            Self::Large(array) => (!array.is_null(row)).then(|| array.value(row)),
            Self::View(array) => (!array.is_null(row)).then(|| array.value(row)),
            Self::Fixed(array) => (!array.is_null(row)).then(|| array.value(row)),
            Self::Dictionary(keys, values) => values.get(keys.get(row)?),
        }
    }
}

impl<'a> Names<'a> {
    pub(crate) fn of(array: &'a ArrayRef) -> Result<Self> {
        Ok(match array.data_type() {
            DataType::Utf8 => Self::Utf8(array.as_string()),
            DataType::LargeUtf8 => Self::Large(array.as_string()),
            DataType::Utf8View => Self::View(array.as_string_view()),
            DataType::Dictionary(..) => {
                let (keys, values) = Keys::of(array);
                Self::Dictionary(keys, Box::new(Self::of(values)?))
            }
            other => return exec_err!("the categories are of type {other}, and Utf8 was expected"),
        })
    }

    pub(crate) fn get(&self, row: usize) -> Option<&'a str> {
        match self {
            Self::Utf8(array) => (!array.is_null(row)).then(|| array.value(row)),
            Self::Large(array) => (!array.is_null(row)).then(|| array.value(row)),
            Self::View(array) => (!array.is_null(row)).then(|| array.value(row)),
            Self::Dictionary(keys, values) => values.get(keys.get(row)?),
        }
    }
}

/// Returns the types that `function(image [, category])` takes for arguments of these types: no cast copies the bytes of images.
pub(crate) fn coerce(function: &str, types: &[DataType]) -> Result<Vec<DataType>> {
    let (image, category) = match types {
        [image] => (image, None),
        [image, category] => (image, Some(category)),
        _ => {
            return plan_err!(
                "{function} takes an image and an optional category, and was given {} arguments",
                types.len()
            );
        }
    };
    let mut types = vec![coerce_image(function, image)?];
    if let Some(category) = category {
        types.push(coerce_category(function, category)?);
    }
    Ok(types)
}

fn coerce_image(function: &str, given: &DataType) -> Result<DataType> {
    match given {
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            Ok(given.clone())
        }
        DataType::Null => Ok(DataType::Binary),
        DataType::Dictionary(_, value) => Ok(dictionary(given, value, coerce_image(function, value)?)),
        DataType::Struct(fields) if fields.iter().any(|field| field.name() == "bytes") => {
            plan_err!(
                "{function} takes the bytes of an image file, and this column has them in its field: {function}(column['bytes'])"
            )
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            plan_err!(
                "{function} takes the bytes of an image file, and this column is text; for files use the table images('FOLDER')"
            )
        }
        other => plan_err!("{function} takes the bytes of an image file (Binary), and this column is of type {other}"),
    }
}

/// Returns the type for a dictionary: itself, if its values need no cast.
fn dictionary(given: &DataType, value: &DataType, coerced: DataType) -> DataType {
    if coerced == *value { given.clone() } else { coerced }
}

fn coerce_category(function: &str, given: &DataType) -> Result<DataType> {
    match given {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Ok(given.clone()),
        DataType::Null => Ok(DataType::Utf8),
        DataType::Dictionary(_, value) => Ok(dictionary(given, value, coerce_category(function, value)?)),
        other => plan_err!("{function} takes the name of a category (Utf8), and was given a value of type {other}"),
    }
}

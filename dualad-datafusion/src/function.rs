//! A function of an image and an optional category.

use std::fmt::Debug;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, StructArray};
use datafusion::arrow::datatypes::{DataType, Fields};
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use dualad::detector::Inspection;

use crate::columns::{Images, Names, coerce};
use crate::inspector::Inspector;

/// The rows of a function's result.
pub(crate) trait Rows: Sized {
    /// The name of the function in SQL.
    const NAME: &'static str;

    /// Makes the rows, empty.
    fn with_capacity(rows: usize) -> Self;

    /// Returns the fields of the result.
    fn fields() -> Fields;

    /// Adds a row: of an image, of an image that failed, or of no image.
    fn push(&mut self, found: Option<std::result::Result<Inspection, String>>);

    /// Returns the rows as an array of [`Self::fields`].
    fn finish(self) -> Result<StructArray>;
}

/// A function of an image and an optional category.
///
/// Its name has the beginning of the model's digest, and the name in SQL is its alias. A plan names its functions, so a worker with
/// another model does not know the function of the plan, and refuses it.
pub(crate) struct Function<R> {
    inspector: Inspector,
    name: String,
    aliases: Vec<String>,
    signature: Signature,
    rows: PhantomData<fn() -> R>,
}

impl<R: Rows> Function<R> {
    pub(crate) fn new(inspector: Inspector) -> Self {
        let name = format!("{}_{:.16}", R::NAME, inspector.digest());
        let signature = Signature::user_defined(Volatility::Immutable);
        Self { inspector, name, aliases: vec![R::NAME.into()], signature, rows: PhantomData }
    }
}

impl<R> Debug for Function<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Function").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<R> PartialEq for Function<R> {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.inspector.digest() == other.inspector.digest()
    }
}

impl<R> Eq for Function<R> {}

impl<R> Hash for Function<R> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl<R: Rows + 'static> ScalarUDFImpl for Function<R> {
    fn name(&self) -> &str {
        &self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    /// Names the result's column as the function is called in SQL.
    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let args: Vec<String> = args.iter().map(|arg| arg.schema_name().to_string()).collect();
        Ok(format!("{}({})", R::NAME, args.join(",")))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        coerce(R::NAME, types)
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Struct(R::fields()))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        evaluate::<R>(&self.inspector, &args.args, args.number_rows)
    }
}

/// Inspects the images of the arguments `image [, category]`.
pub(crate) fn evaluate<R: Rows>(inspector: &Inspector, args: &[ColumnarValue], rows: usize) -> Result<ColumnarValue> {
    let is_scalar = args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
    let rows = if is_scalar { 1 } else { rows };
    if let Some(known) = inspector.recent().get(R::NAME, args) {
        return Ok(ColumnarValue::Array(known));
    }
    let arrays: Vec<ArrayRef> = args.iter().map(|arg| arg.to_array(rows)).collect::<Result<_>>()?;
    let [image, category @ ..] = &arrays[..] else {
        // The types were checked when the query was planned.
        return internal_err!("{} was called without an image", R::NAME);
    };
    let images = Images::of(image)?;
    let names = category.first().map(Names::of).transpose()?;
    let name = |row| names.as_ref().and_then(|names| names.get(row));
    let mut found = R::with_capacity(rows);
    inspector.inspect(rows, |row| images.get(row), name, |result| found.push(result))?;
    let array = Arc::new(found.finish()?);
    if is_scalar {
        return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(array.as_ref(), 0)?));
    }
    inspector.recent().keep(R::NAME, args, &array);
    Ok(ColumnarValue::Array(array))
}

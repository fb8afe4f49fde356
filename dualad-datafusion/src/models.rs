//! Models that a query names: loaded once in a process, checked by their digest.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result as QueryResult, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use dualad::Detector;
use dualad::store::sha256;

use crate::columns::coerce;
use crate::error::{Error, Result};
use crate::function::{Rows, evaluate};
use crate::inspect::Inspections;
use crate::inspector::Inspector;
use crate::packed::{shortened, unpack};

/// The number of models that are kept.
const KEPT: usize = 4;

/// The models of a process whose queries name their model: `inspect_with(model, image [, category])`. Clones share them.
///
/// The model is a constant of the query:
/// - bytes of [`pack`](crate::pack), which the plan carries to every worker;
/// - `'FOLDER#sha256:DIGEST'`, a folder that every worker reads, such as one on a network share;
/// - `'hub:owner/name@COMMIT#sha256:DIGEST'`, a model on the Hugging Face hub (feature `hub`).
///
/// The digest is [`Inspector::digest`]. A model with another one is refused. Folders and the hub are refused unless they are allowed
/// here, since a query may come from elsewhere. The last four models are kept in memory.
///
/// ```no_run
/// use datafusion::prelude::SessionContext;
/// use dualad_datafusion::Models;
///
/// let context = SessionContext::new();
/// context.register_udf(Models::default().with_folder("/mnt/models").function());
/// ```
#[derive(Debug, Clone, Default)]
pub struct Models {
    folders: Vec<PathBuf>,
    hub: bool,
    /// The models by their key, the last used at the end.
    loaded: Arc<Mutex<Vec<(String, Inspector)>>>,
}

/// A model as a query names it.
enum Named<'a> {
    Bytes(&'a [u8]),
    Text(&'a str),
}

impl Models {
    /// Allows models in a folder and its folders.
    #[must_use]
    pub fn with_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folders.push(folder.into());
        self
    }

    /// Allows models on the Hugging Face hub.
    #[cfg(feature = "hub")]
    #[must_use]
    pub fn with_hub(mut self) -> Self {
        self.hub = true;
        self
    }

    /// Returns the function `inspect_with`.
    pub fn function(&self) -> ScalarUDF {
        let signature = Signature::user_defined(Volatility::Immutable);
        ScalarUDF::new_from_impl(InspectWith { models: self.clone(), signature })
    }

    fn get(&self, named: &Named<'_>) -> Result<Inspector> {
        let key = match named {
            Named::Bytes(bytes) => sha256(bytes),
            Named::Text(text) => (*text).to_owned(),
        };
        // Held while a model loads, so that every other thread waits for it instead of loading it too.
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let (key, inspector) = match loaded.iter().position(|(known, _)| *known == key) {
            Some(index) => loaded.remove(index),
            None => (key, self.load(named)?),
        };
        loaded.push((key, inspector.clone()));
        let many = loaded.len().saturating_sub(KEPT);
        loaded.drain(..many);
        Ok(inspector)
    }

    fn load(&self, named: &Named<'_>) -> Result<Inspector> {
        let text = match named {
            Named::Bytes(bytes) => return Inspector::new(unpack(bytes)?),
            Named::Text(text) => *text,
        };
        let wrong = |reason: &str| Error::Source { model: shortened(text).into(), reason: reason.into() };
        let (place, expected) =
            text.rsplit_once("#sha256:").ok_or_else(|| wrong("has no digest; add #sha256:DIGEST"))?;
        let inspector = Inspector::new(match place.strip_prefix("hub:") {
            Some(name) => self
                .load_from_hub(name)
                .map_err(|error| error.unwrap_or_else(|| wrong("is on the hub, which this process does not allow")))?,
            None => self
                .load_from_folder(Path::new(place))
                .map_err(|error| error.unwrap_or_else(|| wrong("lies in no folder that this process allows")))?,
        })?;
        if inspector.digest() != expected {
            let (model, found) = (shortened(place).into(), inspector.digest().into());
            return Err(Error::Digest { model, found, expected: shortened(expected).into() });
        }
        Ok(inspector)
    }

    /// Loads a model of a folder. The error is `None` for a folder that is not allowed.
    fn load_from_folder(&self, folder: &Path) -> std::result::Result<Detector, Option<Error>> {
        let real = |path: &Path| std::fs::canonicalize(path).ok();
        let within = |place: &Path| {
            self.folders.iter().filter_map(|allowed| real(allowed)).any(|allowed| place.starts_with(allowed))
        };
        match real(folder).filter(|place| within(place)) {
            Some(place) => Detector::load(place).map_err(|error| Some(error.into())),
            None => Err(None),
        }
    }

    #[cfg(feature = "hub")]
    fn load_from_hub(&self, name: &str) -> std::result::Result<Detector, Option<Error>> {
        if !self.hub {
            return Err(None);
        }
        let (name, revision) = name.split_once('@').unwrap_or((name, "main"));
        Detector::builder().revision(revision).from_pretrained(name).map_err(|error| Some(error.into()))
    }

    #[cfg(not(feature = "hub"))]
    fn load_from_hub(&self, _name: &str) -> std::result::Result<Detector, Option<Error>> {
        Err(None)
    }
}

/// The function `inspect_with(model, image [, category])`.
#[derive(Debug)]
struct InspectWith {
    models: Models,
    signature: Signature,
}

impl PartialEq for InspectWith {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.models.loaded, &other.models.loaded)
    }
}

impl Eq for InspectWith {}

impl std::hash::Hash for InspectWith {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.models.loaded).hash(state);
    }
}

impl ScalarUDFImpl for InspectWith {
    fn name(&self) -> &str {
        "inspect_with"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> QueryResult<Vec<DataType>> {
        let Some((model, rest)) = types.split_first() else {
            return plan_err!("inspect_with takes a model, an image and an optional category");
        };
        let model = match model {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView => DataType::Binary,
            other => {
                return plan_err!("inspect_with takes a model as text or bytes, and was given a value of type {other}");
            }
        };
        Ok([vec![model], coerce("inspect_with", rest)?].concat())
    }

    fn return_type(&self, _types: &[DataType]) -> QueryResult<DataType> {
        Ok(DataType::Struct(Inspections::fields()))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> QueryResult<ColumnarValue> {
        let Some((model, rest)) = args.args.split_first() else {
            return exec_err!("inspect_with was called without a model");
        };
        let named = match model {
            ColumnarValue::Scalar(ScalarValue::Binary(Some(bytes))) => Named::Bytes(bytes),
            ColumnarValue::Scalar(ScalarValue::Utf8(Some(text))) => Named::Text(text),
            _ => return exec_err!("inspect_with takes one model for the whole query, as a constant"),
        };
        evaluate::<Inspections>(&self.models.get(&named)?, rest, args.number_rows)
    }
}

//! onnxruntime, whose library is loaded at run time.

use std::path::Path;

use ort::session::Session;
use ort::value::Tensor;

use crate::check::{Results, Runtime};
use crate::error::{Error, Result};
use crate::model::{IMAGE, MAP, SCORE};

/// A graph in onnxruntime.
pub(crate) struct OnnxRuntime {
    session: Session,
    version: String,
}

fn failed<T>(action: &'static str) -> impl Fn(ort::Error<T>) -> Error {
    move |error| Error::Runtime { action, reason: error.to_string() }
}

impl OnnxRuntime {
    /// Loads the library and the graph. A process uses the library that it loads first.
    pub(crate) fn load(library: &Path, model: &[u8]) -> Result<Self> {
        let wrong = |reason: String| Error::Library { path: library.into(), reason };
        // A relative path would be searched beside the program.
        let path = std::path::absolute(library).map_err(|error| wrong(error.to_string()))?;
        if !path.is_file() {
            return Err(wrong("there is no such file".into()));
        }
        let environment = ort::init_from(&path).map_err(|error| wrong(error.to_string()))?;
        let environment = environment.with_name("dualad").with_telemetry(false).build().map_err(failed("starting"))?;
        let mut builder = Session::builder(&environment).map_err(failed("starting"))?;
        let session = builder.commit_from_memory(model).map_err(failed("loading the graph"))?;
        Ok(Self { session, version: version(ort::info(), library) })
    }
}

/// Returns the version in a text such as `ORT Build Info: git-branch=rel-1.20.1, git-commit-id=5c1b7cc`. Where the branch has no version, it is
/// that of the file's name, `libonnxruntime.so.1.20.1`, or else the commit.
fn version(info: &str, library: &Path) -> String {
    let field = |name: &str| info.split(name).nth(1).and_then(|rest| rest.split(',').next()).map(str::trim);
    if let Some(version) = field("git-branch=").and_then(|branch| branch.strip_prefix("rel-")) {
        return version.into();
    }
    let resolved = library.canonicalize().unwrap_or_else(|_| library.into());
    let name = resolved.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let named = name.split_once(".so.").map(|(_, version)| version).filter(|version| version.contains('.'));
    named.or_else(|| field("git-commit-id=")).unwrap_or(info).into()
}

impl Runtime for OnnxRuntime {
    fn name(&self) -> (String, String) {
        ("onnxruntime".into(), self.version.clone())
    }

    fn run(&mut self, pixels: Vec<f32>, shape: [usize; 4]) -> Result<Results> {
        let images = Tensor::from_array((shape.to_vec(), pixels)).map_err(failed("reading the images"))?;
        let outputs = self.session.run(ort::inputs![IMAGE => images]).map_err(failed("running the graph"))?;
        let values = |name: &'static str| {
            let missing = || Error::Runtime { action: "running the graph", reason: format!("no output {name}") };
            let output = outputs.get(name).ok_or_else(missing)?;
            let (_, values) = output.try_extract_tensor::<f32>().map_err(failed("reading the results"))?;
            Ok::<_, Error>(values.to_vec())
        };
        Ok(Results { scores: values(SCORE)?, maps: values(MAP)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_that_of_the_release() {
        let (named, link) = (Path::new("lib/libonnxruntime.so.1.20.1"), Path::new("lib/libonnxruntime.so.1"));
        assert_eq!(version("ORT Build Info: git-branch=rel-1.19.0, git-commit-id=5c1b7cc", named), "1.19.0");
        assert_eq!(
            version("ORT Build Info: git-branch=HEAD, git-commit-id=5c1b7cc, build type=Release", named),
            "1.20.1"
        );
        assert_eq!(
            version("ORT Build Info: git-branch=HEAD, git-commit-id=5c1b7cc, build type=Release", link),
            "5c1b7cc"
        );
        assert_eq!(version("unknown", link), "unknown");
    }

    #[test]
    fn a_library_that_is_none_is_named() {
        for path in ["nowhere/libonnxruntime.so", env!("CARGO_MANIFEST_DIR")] {
            let error =
                OnnxRuntime::load(Path::new(path), b"").err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains(path) && error.contains("no such file"), "{error}");
        }
    }
}

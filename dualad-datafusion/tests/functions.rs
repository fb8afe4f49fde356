//! The functions in queries, held against the detector.

use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryViewArray, DictionaryArray, LargeBinaryArray, RecordBatch,
    StringArray, StructArray, UInt8Array,
};
use datafusion::arrow::datatypes::{Field, Float16Type, Float32Type, UInt32Type};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs};
use datafusion::prelude::{SessionConfig, SessionContext};
use dualad::backbones::Backbone;
use dualad::data::synthetic::{self, Category, Options};
use dualad::detector::Request;
use dualad::recipe::Recipe;
use dualad::{Detector, Variant};
use dualad_datafusion::{Inspector, Models, pack};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Makes parts of two categories in a folder, and a model of them.
fn model(folder: &Path) -> Result<Detector, Box<dyn std::error::Error>> {
    let categories = vec![Category::Gear, Category::Plate];
    let options = Options { size: 64, train: 10, test_good: 2, test_per_defect: 1, categories, ..Options::default() };
    synthetic::write(&folder.join("parts"), &options, |_, _| {})?;
    let mut recipe = Recipe::fast(Variant::Heterogeneous, Backbone::FilterBank);
    recipe.train.epochs = 0;
    Ok(Detector::fit(folder.join("parts").as_path()).recipe(recipe).run()?.detector)
}

/// Returns the test images of a category, and one that is broken.
fn images(folder: &Path) -> std::io::Result<Vec<Vec<u8>>> {
    let mut files: Vec<_> = walk(&folder.join("parts/gear/test"))?;
    files.sort();
    let mut images = files.iter().map(std::fs::read).collect::<std::io::Result<Vec<_>>>()?;
    images.insert(1, b"no image".to_vec());
    Ok(images)
}

fn walk(folder: &Path) -> std::io::Result<Vec<std::path::PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { files.extend(walk(&path)?) } else { files.push(path) }
    }
    Ok(files)
}

async fn column(context: &SessionContext, query: &str) -> Result<StructArray, Box<dyn std::error::Error>> {
    let batches = context.sql(query).await?.collect().await?;
    let schema = batches.first().ok_or("no rows")?.schema();
    let all = datafusion::arrow::compute::concat_batches(&schema, &batches)?;
    Ok(all.column(0).as_struct().clone())
}

fn context(inspector: &Inspector) -> SessionContext {
    let context = SessionContext::new_with_config(SessionConfig::new().with_batch_size(5).with_target_partitions(1));
    inspector.register(&context);
    context
}

fn table(context: &SessionContext, name: &str, columns: Vec<(&str, ArrayRef)>) -> Outcome {
    context.register_batch(
        name,
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true)))?,
    )?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_form_of_a_column_gives_the_scores_of_the_detector() -> Outcome {
    let folder = tempfile::tempdir()?;
    let detector = model(folder.path())?;
    let images = images(folder.path())?;
    let inspector = Inspector::new(detector.clone())?;
    let context = context(&inspector);
    let rows: Vec<Option<&[u8]>> = images.iter().map(|image| Some(image.as_slice())).chain([None]).collect();
    table(&context, "binary", vec![("image", Arc::new(BinaryArray::from(rows.clone())))])?;
    table(&context, "large", vec![("image", Arc::new(LargeBinaryArray::from(rows.clone())))])?;
    table(&context, "views", vec![("image", Arc::new(BinaryViewArray::from(rows.clone())))])?;
    // The last key is NULL, as its value is.
    let keys =
        UInt8Array::from_iter((0..rows.len()).map(|row| u8::try_from(row).ok().filter(|_| row + 1 < rows.len())));
    let values = Arc::new(BinaryArray::from(rows.clone()));
    table(&context, "dictionary", vec![("image", Arc::new(DictionaryArray::try_new(keys, values)?))])?;
    for name in ["binary", "large", "views", "dictionary"] {
        let found = column(&context, &format!("SELECT inspect(image) FROM {name}")).await?;
        assert_eq!(found.len(), rows.len(), "{name}");
        let scores = found.column_by_name("score").unwrap().as_primitive::<Float32Type>();
        let thresholds = found.column_by_name("threshold").unwrap().as_primitive::<Float32Type>();
        let decisions = found.column_by_name("decision").unwrap().as_string::<i32>();
        let regions = found.column_by_name("regions").unwrap().as_list::<i32>();
        let errors = found.column_by_name("error").unwrap().as_string::<i32>();
        for (row, image) in images.iter().enumerate() {
            assert!(!found.is_null(row));
            match detector.inspect(Request::encoded(image, "the image")) {
                Ok(alone) => {
                    let (found, expected) = (scores.value(row), alone.image_score);
                    assert!((found - expected).abs() <= 1e-5 * expected.abs(), "{found} {expected}");
                    let verdict = alone.verdict.ok_or("no thresholds")?;
                    assert_eq!(decisions.value(row), verdict.decision.to_string());
                    assert_eq!(thresholds.value(row), verdict.reject);
                    let regions = regions.value(row);
                    let x = regions.as_struct().column_by_name("x").unwrap().as_primitive::<UInt32Type>();
                    assert_eq!(
                        x.values().to_vec(),
                        alone.regions.iter().map(|region| region.bounds.x).collect::<Vec<_>>()
                    );
                    assert!(errors.is_null(row));
                }
                Err(error) => {
                    assert!(scores.is_null(row) && decisions.is_null(row) && regions.is_null(row));
                    assert!(errors.value(row).contains(&error.to_string()), "{}", errors.value(row));
                }
            }
        }
        assert!(found.is_null(images.len()), "NULL in, NULL out");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn categories_choose_thresholds_and_unknown_ones_are_errors_of_their_rows() -> Outcome {
    let folder = tempfile::tempdir()?;
    let detector = model(folder.path())?;
    let images = images(folder.path())?;
    let context = context(&Inspector::new(detector.clone())?);
    let rows: Vec<&[u8]> = vec![&images[0]; 4];
    let names = StringArray::from(vec![Some("gear"), Some("plate"), None, Some("bolt")]);
    table(&context, "t", vec![("image", Arc::new(BinaryArray::from(rows))), ("name", Arc::new(names))])?;
    let found = column(&context, "SELECT inspect(image, name) FROM t").await?;
    let thresholds = found.column_by_name("threshold").unwrap().as_primitive::<Float32Type>();
    let errors = found.column_by_name("error").unwrap().as_string::<i32>();
    for (row, name) in [Some("gear"), Some("plate"), None].into_iter().enumerate() {
        let request = Request::encoded(&images[0], "x");
        let alone = detector.inspect(name.map_or(request, |name| request.category(name)))?;
        assert_eq!(thresholds.value(row), alone.verdict.ok_or("no thresholds")?.reject, "{name:?}");
    }
    assert!(errors.value(3).contains("\"bolt\"") && errors.value(3).contains("gear, plate"), "{}", errors.value(3));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn maps_are_those_of_the_detector_in_half_precision() -> Outcome {
    let folder = tempfile::tempdir()?;
    let detector = model(folder.path())?;
    let images = images(folder.path())?;
    let context = context(&Inspector::new(detector.clone())?);
    let rows: Vec<&[u8]> = images.iter().map(Vec::as_slice).collect();
    table(&context, "t", vec![("image", Arc::new(BinaryArray::from(rows)))])?;
    let found = column(&context, "SELECT anomaly_map(image) FROM t").await?;
    let maps = found.column_by_name("values").unwrap().as_list::<i32>();
    let alone = detector.inspect(Request::encoded(&images[0], "x"))?.anomaly_map;
    let values = maps.value(0);
    let values = values.as_primitive::<Float16Type>().values().to_vec();
    assert_eq!(values.len(), alone.values.len());
    for (half, full) in values.iter().zip(&alone.values) {
        assert!((half.to_f32() - full).abs() <= 1e-3 * full.abs() + 1e-4, "{half} {full}");
    }
    assert!(maps.is_null(1) && !found.column_by_name("error").unwrap().is_null(1), "the broken image");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_a_table() -> Outcome {
    let folder = tempfile::tempdir()?;
    let context = context(&Inspector::new(model(folder.path())?)?);
    let test = folder.path().join("parts/gear/test");
    std::fs::write(test.join("notes.txt"), "no image")?;
    let query = format!("SELECT count(*) AS n, count(path) AS p FROM images('{}')", test.display());
    let rows = context.sql(&query).await?.collect().await?;
    let expected = (walk(&test)?.len() - 1) as i64;
    for column in [0, 1] {
        assert_eq!(rows[0].column(column).as_primitive::<datafusion::arrow::datatypes::Int64Type>().value(0), expected);
    }
    let found = column(&context, &format!("SELECT inspect(image) FROM images('{}')", test.display())).await?;
    assert_eq!((found.len() as i64, found.column_by_name("score").unwrap().null_count()), (expected, 0));
    for (query, part) in
        [("SELECT * FROM images('nowhere')", "nowhere"), ("SELECT * FROM images(1)", "path of a folder")]
    {
        let error = context.sql(query).await.unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_types_are_told_with_a_way_out() -> Outcome {
    let folder = tempfile::tempdir()?;
    let context = context(&Inspector::new(model(folder.path())?)?);
    for (query, part) in [
        ("SELECT inspect('a.png')", "images('FOLDER')"),
        ("SELECT inspect(1)", "Binary"),
        ("SELECT inspect(x'00', 1)", "name of a category"),
        ("SELECT inspect()", "takes"),
        ("SELECT inspect(named_struct('bytes', x'00', 'path', 'p'))", "['bytes']"),
    ] {
        let error = match context.sql(query).await {
            Ok(frame) => frame.collect().await.unwrap_err(),
            Err(error) => error,
        };
        assert!(error.to_string().contains(part), "{query}: {error}");
    }
    // A constant is a query, too, and NULL is NULL.
    let found = column(&context, "SELECT inspect(NULL)").await?;
    assert!(found.is_null(0));
    let found = column(&context, "SELECT inspect(x'00')").await?;
    assert!(!found.column_by_name("error").unwrap().is_null(0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_names_its_model_by_bytes_or_by_an_allowed_folder_with_its_digest() -> Outcome {
    let folder = tempfile::tempdir()?;
    let detector = model(folder.path())?;
    detector.save(folder.path().join("model"))?;
    let images = images(folder.path())?;
    let expected = detector.inspect(Request::encoded(&images[0], "x"))?.image_score;
    let context = SessionContext::new();
    context.register_udf(Models::default().with_folder(folder.path().join("model")).function());
    table(&context, "t", vec![("image", Arc::new(BinaryArray::from(vec![images[0].as_slice()])))])?;
    let saved = Inspector::new(Detector::load(folder.path().join("model"))?)?;
    let hex: String = pack(folder.path().join("model"))?.iter().map(|byte| format!("{byte:02x}")).collect();
    let place = folder.path().join("model");
    let (place, digest) = (place.display(), saved.digest());
    for model in [format!("x'{hex}'"), format!("'{place}#sha256:{digest}'")] {
        let found = column(&context, &format!("SELECT inspect_with({model}, image) FROM t")).await?;
        let score = found.column_by_name("score").unwrap().as_primitive::<Float32Type>().value(0);
        assert!((score - expected).abs() <= 1e-5 * expected, "{score} {expected}");
    }
    std::fs::create_dir(folder.path().join("other"))?;
    let other = folder.path().join("other");
    for (model, part) in [
        (format!("'{place}'"), "#sha256:DIGEST"),
        (format!("'{place}#sha256:00'"), "has the digest"),
        (format!("'{}#sha256:00'", other.display()), "no folder that this process allows"),
        (format!("'{place}/../other#sha256:00'"), "no folder that this process allows"),
        ("'hub:a/b#sha256:00'".into(), "hub"),
        ("x'00'".into(), "not a packed model"),
    ] {
        let error =
            context.sql(&format!("SELECT inspect_with({model}, image) FROM t")).await?.collect().await.unwrap_err();
        assert!(error.to_string().contains(part), "{model}: {error}");
    }
    Ok(())
}

/// A plan names its functions: a worker with other thresholds must not know them.
#[test]
fn the_digest_and_the_names_of_functions_differ_with_the_thresholds() -> Outcome {
    let folder = tempfile::tempdir()?;
    let detector = model(folder.path())?;
    let inspector = Inspector::new(detector.clone())?;
    let again = Inspector::new(detector.clone())?;
    let without = Inspector::new(detector.with_calibration(None))?;
    let names = |inspector: &Inspector| {
        inspector.functions().iter().map(|function| function.name().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!((inspector.digest(), names(&inspector)), (again.digest(), names(&again)));
    assert_ne!(inspector.digest(), without.digest());
    assert!(names(&inspector).iter().zip(names(&without)).all(|(one, other)| *one != other));
    Ok(())
}

/// Five fields of a result are one inspection: the engine copies the call for each field.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_the_engine_copies_is_computed_once() -> Outcome {
    let folder = tempfile::tempdir()?;
    let inspector = Inspector::new(model(folder.path())?)?;
    let images = images(folder.path())?;
    let plain: ArrayRef = Arc::new(BinaryArray::from(vec![images[0].as_slice(); 3]));
    let values = Arc::new(BinaryArray::from(vec![images[0].as_slice()]));
    let dictionary: ArrayRef = Arc::new(DictionaryArray::try_new(UInt8Array::from(vec![0, 0, 0]), values)?);
    let names = Arc::new(StringArray::from(vec!["gear"]));
    let category: ArrayRef = Arc::new(DictionaryArray::try_new(UInt8Array::from(vec![0, 0, 0]), names)?);
    let constant = ColumnarValue::Scalar(ScalarValue::from("gear"));
    let function = inspector.functions().swap_remove(0);
    for args in [
        vec![plain.clone().into()],
        vec![dictionary.into()],
        vec![plain.clone().into(), category.into()],
        vec![plain.into(), constant],
    ] {
        let types: Vec<_> = args.iter().map(ColumnarValue::data_type).collect();
        // No cast, which would make new arrays for each call.
        assert_eq!(function.coerce_types(&types)?, types);
        let field = |data_type| Arc::new(Field::new("x", data_type, true));
        let call = || -> Result<ArrayRef, Box<dyn std::error::Error>> {
            let given = ScalarFunctionArgs {
                arg_fields: types.iter().cloned().map(field).collect(),
                return_field: field(function.return_type(&types)?),
                args: args.clone(),
                number_rows: 3,
                config_options: Arc::default(),
            };
            Ok(function.invoke_with_args(given)?.into_array(3)?)
        };
        let (one, other) = (call()?, call()?);
        assert!(Arc::ptr_eq(&one, &other), "{types:?}");
        assert!(one.as_struct().column_by_name("score").unwrap().null_count() == 0, "{types:?}");
    }
    Ok(())
}

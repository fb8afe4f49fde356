//! Files and columns of the input.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, DictionaryArray, FixedSizeBinaryArray, Int32Array, RecordBatch,
};
use datafusion::arrow::datatypes::{Field, Float32Type, Int32Type, Int64Type, Schema, TimestampMicrosecondType};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::data_type as types;
use datafusion::parquet::file::writer::SerializedFileWriter;
use datafusion::parquet::schema::parser::parse_message_type;

use crate::set::{Outcome, Set, read};

/// Writes a file, a row group for each batch.
fn write(path: &Path, batches: &[RecordBatch]) -> Outcome {
    let mut writer = ArrowWriter::try_new(File::create(path)?, batches[0].schema(), None)?;
    for batch in batches {
        writer.write(batch)?;
        writer.flush()?;
    }
    writer.close()?;
    Ok(())
}

/// Returns the first rows of the set's file.
fn rows(set: &Set, count: usize) -> Result<RecordBatch, Box<dyn std::error::Error>> {
    Ok(read(&set.path("images.parquet"))?.slice(0, count))
}

/// Scores a file or folder, by itself and in a query, and returns the scores in the order of the ids.
fn scores(set: &Set, input: &str) -> Result<Vec<Option<f32>>, Box<dyn std::error::Error>> {
    let mut found = Vec::new();
    for more in [&[][..], &["--sql", "SELECT id, inspect(image)['score'] AS score FROM images ORDER BY id"]] {
        let output = set.command_for(input, &["--overwrite", "--threads", "1"]).args(more).output()?;
        assert!(output.status.success(), "{input}: {}", String::from_utf8_lossy(&output.stderr));
        let table = read(&set.path("scores.parquet"))?;
        let ids = table.column_by_name("id").unwrap().as_primitive::<Int64Type>().values();
        assert_eq!(ids.to_vec(), (0..table.num_rows() as i64).collect::<Vec<_>>(), "{input}");
        let scores = table.column_by_name("score").unwrap().as_primitive::<Float32Type>();
        found.push(scores.iter().collect::<Vec<_>>());
    }
    assert_eq!(found[0], found[1], "{input}");
    Ok(found.swap_remove(0))
}

#[test]
fn files_have_any_name_and_a_folder_gives_its_parquet_files() -> Outcome {
    let set = Set::new(20)?;
    let expected = scores(&set, "images.parquet")?;
    let names = ["50% off.parquet", "umläut é#1.parquet", "a[1].parquet", "part.pq", "a%20b.parquet"];
    let stars: &[&str] = if cfg!(windows) { &[] } else { &["images*.parquet", "images?.parquet"] };
    for name in names.iter().chain(stars) {
        std::fs::copy(set.path("images.parquet"), set.path(name))?;
        assert_eq!(scores(&set, name)?, expected, "{name}");
    }
    std::fs::create_dir_all(set.path("folder/line=A"))?;
    assert_eq!(scores(&set, "folder/../images.parquet")?, expected);
    std::fs::copy(set.path("images.parquet"), set.path("folder/A.PARQUET"))?;
    for name in ["._A.parquet", "_metadata", "_SUCCESS", "notes.txt"] {
        std::fs::write(set.path("folder").join(name), b"x")?;
    }
    assert_eq!(scores(&set, "folder")?, expected);
    let output = set.command_for("folder", &["--overwrite"]).output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("2 others are left out, such as folder/line=A"), "{text}");
    Ok(())
}

#[test]
fn images_have_any_type_of_bytes() -> Outcome {
    let set = Set::new(10)?;
    let expected = scores(&set, "images.parquet")?;
    let batch = rows(&set, 10)?;
    let images = batch.column(2).as_binary::<i32>();
    let keys = Int32Array::from_iter_values(0..10);
    let dictionary = DictionaryArray::<Int32Type>::try_new(keys, Arc::new(images.clone()))?;
    let columns = |images: ArrayRef| RecordBatch::try_from_iter([("id", batch.column(0).clone()), ("image", images)]);
    write(&set.path("dictionary.parquet"), &[columns(Arc::new(dictionary))?])?;
    assert_eq!(scores(&set, "dictionary.parquet")?, expected);
    // One image of one size.
    let one = FixedSizeBinaryArray::try_from_iter(std::iter::once(images.value(0)))?;
    let ids = batch.column(0).slice(0, 1);
    let fixed = RecordBatch::try_from_iter([("id", ids), ("image", Arc::new(one) as ArrayRef)])?;
    write(&set.path("fixed.parquet"), &[fixed])?;
    assert_eq!(scores(&set, "fixed.parquet")?, expected[..1]);
    Ok(())
}

#[test]
fn files_of_one_folder_may_differ_in_notes_and_in_nulls() -> Outcome {
    let set = Set::new(20)?;
    let expected = scores(&set, "images.parquet")?;
    let batch = rows(&set, 20)?;
    std::fs::create_dir(set.path("folder"))?;
    for (part, name) in ["a.parquet", "b.parquet"].into_iter().enumerate() {
        // The row that is NULL, the 17th, is in the second file: the first one says that it has none.
        let fields = batch
            .schema()
            .fields()
            .iter()
            .map(|field| Field::clone(field).with_nullable(part == 1))
            .collect::<Vec<_>>();
        let note = [("pandas".to_owned(), format!("{{\"rows\": {part}}}"))].into();
        let schema = Arc::new(Schema::new_with_metadata(fields, note));
        let rows = batch.slice(10 * part, 10);
        write(&set.path("folder").join(name), &[RecordBatch::try_new(schema, rows.columns().to_vec())?])?;
    }
    assert_eq!(scores(&set, "folder")?, expected);
    let other = RecordBatch::try_from_iter([("id", batch.column(0).clone()), ("image", batch.column(2).clone())])?;
    write(&set.path("folder/c.parquet"), &[other])?;
    let output = set.command_for("folder", &["--overwrite"]).output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains("c.parquet: its columns differ from those of"), "{text}");
    Ok(())
}

#[test]
fn nothing_to_score_gives_an_empty_output() -> Outcome {
    let set = Set::new(10)?;
    write(&set.path("none.parquet"), &[rows(&set, 10)?.slice(0, 0)])?;
    assert_eq!(scores(&set, "none.parquet")?, []);
    let names: Vec<_> =
        read(&set.path("scores.parquet"))?.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["id", "score"]);
    Ok(())
}

#[test]
fn times_of_96_bits_keep_their_year() -> Outcome {
    let set = Set::new(10)?;
    let columns = "message rows { required int64 id; required int96 until; required binary image; }";
    let file = File::create(set.path("times.parquet"))?;
    let mut writer = SerializedFileWriter::new(file, Arc::new(parse_message_type(columns)?), Arc::default())?;
    let mut group = writer.next_row_group()?;
    let mut column = group.next_column()?.ok_or("no column")?;
    column.typed::<types::Int64Type>().write_batch(&[0], None, None)?;
    column.close()?;
    // December 31st, 9999, the day that stands for "for ever": its nanoseconds since 1970 have more than 64 bits.
    let mut until = types::Int96::new();
    until.set_data(0, 0, 5_373_484);
    let mut column = group.next_column()?.ok_or("no column")?;
    column.typed::<types::Int96Type>().write_batch(&[until], None, None)?;
    column.close()?;
    let image = types::ByteArray::from(set.images[0].clone().ok_or("no image")?);
    let mut column = group.next_column()?.ok_or("no column")?;
    column.typed::<types::ByteArrayType>().write_batch(&[image], None, None)?;
    column.close()?;
    group.close()?;
    writer.close()?;
    for more in [&[][..], &["--sql", "SELECT id, until FROM images"]] {
        let output = set.command_for("times.parquet", &["--overwrite"]).args(more).output()?;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let found = read(&set.path("scores.parquet"))?;
        let until = found.column_by_name("until").ok_or("no column")?.as_primitive::<TimestampMicrosecondType>();
        assert_eq!(until.value(0), 253_402_214_400_000_000);
    }
    Ok(())
}

#[test]
fn columns_of_one_name_are_refused() -> Outcome {
    let set = Set::new(10)?;
    let batch = rows(&set, 10)?;
    let schema = batch.schema();
    let fields = [schema.field(0).clone(), schema.field(0).clone(), schema.field(2).clone()];
    let columns = vec![batch.column(0).clone(), batch.column(0).clone(), batch.column(2).clone()];
    let twice = RecordBatch::try_new(Arc::new(Schema::new(fields.to_vec())), columns)?;
    write(&set.path("twice.parquet"), &[twice])?;
    for more in [&[][..], &["--sql", "SELECT sum(id) FROM images"]] {
        let output = set.command_for("twice.parquet", more).output()?;
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && text.contains("two columns \"id\""), "{text}");
    }
    Ok(())
}

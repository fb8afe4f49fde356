//! Other engines in Rust, as `tools/bench/engines.py` asks: a line on standard input, a line of JSON back.
//!
//! - `rten MODEL.onnx INPUT.f32 SHAPE,...` and `tract ...`: loads a model, and its input as little-endian f32.
//! - `run COUNT`: times it so many times, in milliseconds.
//! - `output FILE`: all outputs, one after the other, as little-endian f32.

use std::error::Error;
use std::io::{BufRead, Write};
use std::sync::Arc;
use std::time::Instant;

use rten_tensor::prelude::*;

type Result<T> = std::result::Result<T, Box<dyn Error>>;
type Subject = Box<dyn FnMut() -> Result<Vec<f32>>>;

fn main() -> Result<()> {
    let threads = std::env::args().nth(2).unwrap_or_else(|| "1".into()).parse::<usize>()?;
    let mut subject: Option<Subject> = None;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let answer = match (words.as_slice(), &mut subject) {
            (["run", count], Some(subject)) => {
                let mut times = Vec::new();
                for _ in 0..count.parse::<usize>()? {
                    let started = Instant::now();
                    std::hint::black_box(subject()?);
                    times.push(started.elapsed().as_secs_f64() * 1e3);
                }
                serde_json::json!({"ms": times})
            }
            (["output", file], Some(subject)) => {
                let bytes: Vec<u8> = subject()?.iter().flat_map(|value| value.to_le_bytes()).collect();
                std::fs::write(file, bytes)?;
                serde_json::json!({})
            }
            ([engine, model, input, shape], _) => {
                let shape = shape.split(',').map(str::parse).collect::<std::result::Result<Vec<usize>, _>>()?;
                let bytes = std::fs::read(input)?;
                let values = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
                subject = Some(match *engine {
                    "rten" => rten(model, values, shape, threads)?,
                    "tract" => tract(model, values, shape, threads)?,
                    _ => return Err(format!("there is no engine {engine}").into()),
                });
                serde_json::json!({})
            }
            (words, _) => return Err(format!("what is {words:?}?").into()),
        };
        println!("{answer}");
        std::io::stdout().flush()?;
    }
    Ok(())
}

fn rten(path: &str, values: Vec<f32>, shape: Vec<usize>, threads: usize) -> Result<Subject> {
    let mut options = rten::ModelOptions::with_all_ops();
    options.prepack_weights(true);
    let model = options.load_file(path)?;
    let (input, outputs) = (model.input_ids()[0], model.output_ids().to_vec());
    let pool = Arc::new(rten::ThreadPool::with_num_threads(threads));
    let tensor = rten_tensor::Tensor::from_data(shape.as_slice(), values);
    Ok(Box::new(move || {
        let options = rten::RunOptions::default().with_thread_pool(Some(pool.clone()));
        let found = model.run(vec![(input, tensor.view().into())], &outputs, Some(options))?;
        let mut all = Vec::new();
        for value in found {
            let tensor: rten_tensor::Tensor<f32> = value.try_into()?;
            all.extend(tensor.to_vec());
        }
        Ok(all)
    }))
}

fn tract(path: &str, values: Vec<f32>, shape: Vec<usize>, threads: usize) -> Result<Subject> {
    use tract_onnx::prelude::*;
    use tract_linalg::multithread::{Executor, set_default_executor};

    if threads > 1 {
        set_default_executor(Executor::multithread(threads));
    }
    let fact = f32::fact(&shape);
    let model = tract_onnx::onnx().model_for_path(path)?.with_input_fact(0, fact.into())?;
    let model = model.into_optimized()?.into_runnable()?;
    let tensor: Tensor = Tensor::from_shape(&shape, &values)?;
    Ok(Box::new(move || {
        let found = model.run(tvec!(tensor.clone().into()))?;
        let mut all = Vec::new();
        for value in found {
            all.extend(value.to_plain_array_view::<f32>()?.iter().copied());
        }
        Ok(all)
    }))
}

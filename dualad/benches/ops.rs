//! The time of each operation at the paper's shapes, alternating between its plain and its fast form.
//!
//! ```sh
//! cargo bench --workspace --bench ops            # all cores
//! RAYON_NUM_THREADS=1 cargo bench --workspace --bench ops
//! ```

#![allow(clippy::print_stdout)]

use std::time::Instant;

use candle_core::{Device, Result, Tensor, Var};
use dualad::Random;
use dualad::bench::{self, Form};

const REPEATS: usize = 9;

fn variable(shape: &[usize], name: &str) -> Var {
    let values = Random::new(0).named(name).normal(shape.iter().product());
    Var::from_vec(values, shape, &Device::Cpu).expect("values of the shape")
}

/// Prints the median milliseconds of the plain and the fast form, of the forward pass alone and with the backward pass.
fn measure(name: &str, run: impl Fn(Form) -> Result<Tensor>) -> Result<()> {
    let mut times = [const { Vec::new() }; 4];
    for repeat in 0..=REPEATS {
        for (index, form) in [Form::Plain, Form::Fast].into_iter().enumerate() {
            let started = Instant::now();
            let y = run(form)?;
            let forward = started.elapsed();
            y.sqr()?.sum_all()?.backward()?;
            let both = started.elapsed();
            // The first round is a warm-up.
            if repeat > 0 {
                times[index].push(forward.as_secs_f64() * 1e3);
                times[2 + index].push(both.as_secs_f64() * 1e3);
            }
        }
    }
    let medians = times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    });
    for (what, [plain, fast]) in [("forward", [medians[0], medians[1]]), ("and backward", [medians[2], medians[3]])] {
        println!("{name:<28} {what:<13} plain {plain:>8.2} ms   fast {fast:>8.2} ms   fast/plain {:.2}", fast / plain);
    }
    Ok(())
}

fn main() -> Result<()> {
    let (batch, grid) = (8, [14, 14]);
    for (width, heads) in [(256, 8), (1024, 8), (64, 8)] {
        let shape = [batch, 196, width];
        let [q, k, v] = ["query", "key", "value"].map(|name| variable(&shape, name));
        measure(&format!("attention, width {width}"), |form| bench::attention_of(form, [&q, &k, &v], heads, grid))?;
        let (weight, bias) = (variable(&[width], "weight"), variable(&[width], "bias"));
        measure(&format!("layer norm, width {width}"), |form| bench::layer_norm_of(form, &q, &weight, &bias))?;
    }
    let (x, memory) = (variable(&[batch, 196, 256], "x"), variable(&[196, 256], "memory"));
    measure("memory read, 196 slots", |form| bench::memory_read_of(form, &x, &memory))
}

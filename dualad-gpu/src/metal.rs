//! Launches through candle's Metal device. A source is compiled when one of its kernels is first used.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use candle_core::backend::BackendStorage;
use candle_core::metal_backend::MetalError;
use candle_core::{Layout, MetalStorage, Result};
use candle_metal_kernels::metal::{ComputeCommandEncoder, ComputePipeline, Device, Library};
use objc2_metal::{MTLCompileOptions, MTLComputePipelineState, MTLSize};

use crate::launch::{Launch, Output, first_element};
use crate::source::Source;

/// The compiled sources and kernels by the device's registry number. A cache: compiling is slow.
static LIBRARIES: Mutex<Option<HashMap<(u64, Source), Library>>> = Mutex::new(None);
static PIPELINES: Mutex<Option<HashMap<(u64, String), ComputePipeline>>> = Mutex::new(None);

fn pipeline(device: &Device, launch: &Launch) -> Result<ComputePipeline> {
    let id = device.registry_id();
    let mut pipelines = PIPELINES.lock().unwrap_or_else(PoisonError::into_inner);
    let pipelines = pipelines.get_or_insert_default();
    let key = (id, launch.kernel.clone());
    if let Some(pipeline) = pipelines.get(&key) {
        return Ok(pipeline.clone());
    }
    let mut libraries = LIBRARIES.lock().unwrap_or_else(PoisonError::into_inner);
    let libraries = libraries.get_or_insert_default();
    let library = match libraries.get(&(id, launch.source)) {
        Some(library) => library.clone(),
        None => {
            let options = MTLCompileOptions::new();
            // The kernels depend on infinities and NaN, which fast math does not preserve.
            #[allow(deprecated)]
            options.setFastMathEnabled(false);
            let text = format!("{}\n{}", include_str!("../kernels/prelude.h"), launch.source.text());
            let library = device.new_library_with_source(&text, Some(&options)).map_err(MetalError::from)?;
            libraries.insert((id, launch.source), library.clone());
            library
        }
    };
    let function = library.get_function(&launch.kernel, None).map_err(MetalError::from)?;
    let pipeline = device.new_compute_pipeline_state_with_function(&function).map_err(MetalError::from)?;
    let (width, most) = (pipeline.as_ref().threadExecutionWidth(), pipeline.max_total_threads_per_threadgroup());
    if width % 32 != 0 || most < launch.threads {
        candle_core::bail!(
            "{} needs {} threads in warps of 32, and this device has {most} in warps of {width}; use the CPU",
            launch.kernel,
            launch.threads
        );
    }
    pipelines.insert(key, pipeline.clone());
    Ok(pipeline)
}

pub(crate) fn run(
    launch: &Launch,
    inputs: &[(&MetalStorage, &Layout)],
    outputs: &[Output],
) -> Result<Vec<MetalStorage>> {
    let Some((first, _)) = inputs.first() else { candle_core::bail!("{} has no tensors", launch.kernel) };
    let device = first.device().clone();
    let mut made = Vec::with_capacity(outputs.len());
    for &Output { count, dtype } in outputs {
        made.push(MetalStorage::new(device.new_buffer(count, dtype, &launch.kernel)?, device.clone(), count, dtype));
    }
    if launch.groups.contains(&0) {
        return Ok(made);
    }
    let pipeline = pipeline(device.metal_device(), launch)?;
    let guard = device.command_encoder()?;
    let encoder: &ComputeCommandEncoder = guard.as_ref();
    encoder.set_label(&launch.kernel);
    encoder.set_compute_pipeline_state(&pipeline);
    encoder.set_bytes(0, &launch.words);
    let mut index = 1;
    for (input, (storage, layout)) in inputs.iter().enumerate() {
        let offset = first_element(layout, &launch.kernel)? * storage.dtype().size_in_bytes();
        if input + launch.changed_inputs < inputs.len() {
            encoder.set_input_buffer(index, Some(storage.buffer()), offset);
        } else {
            encoder.set_output_buffer(index, Some(storage.buffer()), offset);
        }
        index += 1;
    }
    for storage in &made {
        encoder.set_output_buffer(index, Some(storage.buffer()), 0);
        index += 1;
    }
    // Metal requires a positive multiple of 16 bytes.
    encoder.set_threadgroup_memory_length(0, launch.shared_bytes.next_multiple_of(16).max(16));
    let [width, height, depth] = launch.groups;
    encoder.dispatch_thread_groups(
        MTLSize { width, height, depth },
        MTLSize { width: launch.threads, height: 1, depth: 1 },
    );
    // candle's kernels use the same encoder and set no length of their own.
    encoder.set_threadgroup_memory_length(0, 16);
    Ok(made)
}

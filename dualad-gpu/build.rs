//! Compiles the CUDA kernels to PTX, where the feature asks for them.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=kernels");
    #[cfg(feature = "cuda")]
    {
        let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
        let ptx = cudaforge::KernelBuilder::new()
            .source_dir("kernels")
            .watch(["kernels/prelude.h"])
            .arg("-std=c++17")
            .arg("-O3")
            .build_ptx()?;
        ptx.write(out.join("ptx.rs"))?;
    }
    Ok(())
}

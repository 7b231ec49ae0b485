//! With `--features cuda`: `cuda/*.cu` to PTX with nvcc, which the library then contains. Otherwise nothing.
//!
//! nvcc is that of `CUDA_HOME` or the first in `PATH`. The PTX is for compute capability 8.0 (Ampere) or what
//! `CUDA_COMPUTE_CAP` says; a driver translates it for any newer GPU.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    if env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return Ok(());
    }
    println!("cargo::rerun-if-changed=cuda");
    println!("cargo::rerun-if-env-changed=CUDA_HOME");
    println!("cargo::rerun-if-env-changed=CUDA_COMPUTE_CAP");
    let nvcc = env::var_os("CUDA_HOME").map_or("nvcc".into(), |home| Path::new(&home).join("bin/nvcc"));
    let capability = env::var("CUDA_COMPUTE_CAP").unwrap_or_else(|_| "80".into());
    let out = PathBuf::from(env::var("OUT_DIR")?);
    for entry in fs::read_dir("cuda")? {
        let source = entry?.path();
        if source.extension().is_some_and(|extension| extension == "cu") {
            let ptx = out.join(source.with_extension("ptx").file_name().ok_or("a file without a name")?);
            let mut command = Command::new(&nvcc);
            command.args(["--ptx", "-std=c++17", "-O3", &format!("-arch=compute_{capability}"), "-o"]);
            command.arg(&ptx).arg(&source);
            let status = command.status().map_err(|error| {
                format!("{}: {error}; install CUDA's compiler (./x cuda does) or set CUDA_HOME", nvcc.display())
            })?;
            if !status.success() {
                return Err(format!("{command:?} failed").into());
            }
        }
    }
    Ok(())
}
